"""From a class name to CLIP's two text anchors: normal and anomalous."""

from dualclip_lightning.prompts.anchors import text_anchors, text_embeddings
from dualclip_lightning.prompts.categories import class_words, is_texture
from dualclip_lightning.prompts.ensemble import WORDINGS, PromptPair, Wording, prompt_ensemble
from dualclip_lightning.prompts.representative import Representative, representative_vector

__all__ = [
    "WORDINGS",
    "PromptPair",
    "Representative",
    "Wording",
    "class_words",
    "is_texture",
    "prompt_ensemble",
    "representative_vector",
    "text_anchors",
    "text_embeddings",
]
