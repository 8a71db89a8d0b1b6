"""What every method has in common: the Lightning shell, and a plain module that knows its text anchors."""

from dualclip_lightning.models.base.memory import out_of_memory_advice
from dualclip_lightning.models.base.shell import (
    LIBRARIES,
    RESIZE_MODES,
    AnchoredModel,
    Kind,
    ZeroShotShell,
    check_components,
    check_prompts,
    describe_common,
    method_pre_processor,
)

__all__ = [
    "LIBRARIES",
    "RESIZE_MODES",
    "AnchoredModel",
    "Kind",
    "ZeroShotShell",
    "check_components",
    "check_prompts",
    "describe_common",
    "method_pre_processor",
    "out_of_memory_advice",
]
