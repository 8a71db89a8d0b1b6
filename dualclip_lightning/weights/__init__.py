"""Files of CLIP weights: where they lie, how they are fetched, and what a file is known to be.

Nothing heavy is imported here, so that `dualclip weights --help` is fast.
"""


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit; the message names the remedy."""
