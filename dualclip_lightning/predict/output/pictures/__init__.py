"""The pictures that a run draws of every image."""
