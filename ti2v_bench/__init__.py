"""ti2v-bench: which text-image-to-video model is better, and why. Importing it does nothing."""

__version__ = "0.1.0"
