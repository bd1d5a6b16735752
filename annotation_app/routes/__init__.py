"""The routes of the application, one subject a file."""
