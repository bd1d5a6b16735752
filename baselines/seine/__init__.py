"""SEINE (Vchitect/SEINE): masked-frame conditioning, image-to-video mode. Importing it does nothing."""
