"""Base classes of all methods: the Lightning shell, and a plain module with text anchors."""

from dualclip_lightning.models.base.anchored import AnchoredModel
from dualclip_lightning.models.base.kind import Kind, parse_kind
from dualclip_lightning.models.base.memory import out_of_memory_advice
from dualclip_lightning.models.base.provenance import LIBRARIES
from dualclip_lightning.models.base.shell import ZeroShotShell

__all__ = ["LIBRARIES", "AnchoredModel", "Kind", "ZeroShotShell", "out_of_memory_advice", "parse_kind"]
