"""TI2V-Zero (Ni et al., CVPR 2024): ModelScope text-to-video made to start from a picture, without training."""
