"""Synthetic training images: grounds, pieces, scenes, the camera and defects."""
