"""See CONTRIBUTING.md for what lives here. Importing it does nothing."""
