"""Limits that the command line and the reader share; importing them takes no time."""

MAX_MEGAPIXELS = 89.0
"""Largest image in megapixels, just below the size at which Pillow warns of decompression bombs."""
