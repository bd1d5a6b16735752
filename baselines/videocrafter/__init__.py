"""VideoCrafter1 image-to-video 512."""
