"""DynamiCrafter at 256, 512 and 1024."""
