"""Files of CLIP weights: their location, download and identification.

Nothing heavy is imported here, so that `dualclip weights --help` is fast.
"""


class WeightsError(RuntimeError):
    """The weights are not available or do not fit; the message names the remedy."""
