"""What the command line and the reader must agree on, and what takes no time to import."""

MAX_MEGAPIXELS = 89.0
"""Below the size at which Pillow starts to warn of decompression bombs."""
GOOD_RATE, ASSUMED_RATE = 0.05, 0.01
"""False alarms that are aimed at from good images, and from an unlabelled run."""
