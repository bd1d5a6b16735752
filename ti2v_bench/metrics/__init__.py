"""Automatic metrics of videos, and how far votes agree with them. Only `catalogue` is free of torch."""
