"""What the command line and the thresholds must agree on, and what takes no time to import."""

RATE = 0.05
"""Share of normal images that may be false alarms, unless the user says otherwise."""
GALLERY = 10_000
"""Images in the gallery, unless the user says otherwise."""
DRAWING_NAMES = ("anoclip", "clip_ad", "musc", "winclip")
"""Those of `dualclip_lightning.scoring.DRAWINGS`, the default first."""
METHOD = "DualImageCLIP"
"""The method of `Detector` and `dualclip predict`, unless the user names another."""
PRETRAINED = "laion400m_e32"
"""Its weights."""
