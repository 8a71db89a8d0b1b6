"""What the command line and the reader must agree on, and what takes no time to import."""

MAX_MEGAPIXELS = 89.0
"""Below the size at which Pillow starts to warn of decompression bombs."""
