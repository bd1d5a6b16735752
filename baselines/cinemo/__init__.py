"""Cinemo (maxin-cn/Cinemo): animates an image by denoising motion residuals. Importing it does nothing."""
