"""Statistics of paired comparisons: every number with its interval. Nothing is read or written here."""
