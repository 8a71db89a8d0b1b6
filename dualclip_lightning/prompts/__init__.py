"""Prompts of a class name and their text anchors in CLIP, normal and anomalous.

CLIP-AD's `prompts.representative` is not imported here, because scikit-learn's clustering takes a second or two to
import.
"""

from dualclip_lightning.prompts.anchors import TextMean, text_anchors, text_embeddings
from dualclip_lightning.prompts.categories import Words, check_words, class_words, is_texture
from dualclip_lightning.prompts.ensemble import WORDINGS, PromptPair, Wording, prompt_ensemble

__all__ = [
    "WORDINGS",
    "PromptPair",
    "TextMean",
    "Wording",
    "Words",
    "check_words",
    "class_words",
    "is_texture",
    "prompt_ensemble",
    "text_anchors",
    "text_embeddings",
]
