"""I2VGen-XL (Zhang et al., 2023), first stage, as published."""
