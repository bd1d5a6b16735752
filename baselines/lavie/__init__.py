"""The U-Net of the LaVie family, which SEINE and Cinemo share. Importing it does nothing."""
