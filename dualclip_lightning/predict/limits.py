"""What the command line and the thresholds must agree on, and what takes no time to import."""

GOOD_RATE, ASSUMED_RATE = 0.05, 0.01
"""False alarms that are aimed at from good images, and from an unlabelled run."""
