"""Defaults shared by the command line and the library, in a module that is fast to import."""

RATE = 0.05
"""Default share of normal images that may be false alarms."""
REFERENCES = 4
"""Default number of references of a bundle that `dualclip calibrate` makes."""
GALLERY = 10_000
"""Default maximum number of images in the gallery."""
HEATMAP_FORMATS = ("jpeg", "png")
"""Formats in which `dualclip predict` writes heatmaps, the default first."""
DRAWING_NAMES = ("anoclip", "anomalydino", "clip_ad", "musc", "subspacead", "winclip")
"""Names in `dualclip_lightning.scoring.DRAWINGS`, the default first."""
METHOD = "DualImageCLIP"
"""Default method of `Detector` and `dualclip predict`."""
PRETRAINED = "laion400m_e32"
"""Default weights of that method."""
OF_METHOD = {
    "pretrained": PRETRAINED,
    "num_references": 1,
    "temperature": 0.07,
    "alpha": 0.5,
    "class_weight": 0.5,
    "drawing": DRAWING_NAMES[0],
}
"""Defaults of the default method; others have their own."""
NO_PAIRS = (
    "Images that arrive one by one cannot be compared in pairs. Give --reference-dir FOLDER, --bundle FILE, "
    "--compare-with stream or --compare-with none."
)
"""Answer of commands that score images one by one to the request for pairs."""
