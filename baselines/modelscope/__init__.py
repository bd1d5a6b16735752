"""ModelScope's text-to-video network and what three published models make of it.

AnimateAnything, TI2V-Zero and I2VGen-XL share one trunk (`trunk`), two of them the naming and the diffusion of
the official ModelScope and VGen code (`keys`, `diffusion`). The adapters lie in their own packages.
"""
