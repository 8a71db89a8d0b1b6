"""Construction of a method by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualclip_lightning.predict.limits import METHOD
from dualclip_lightning.predict.names import check_method
from dualclip_lightning.predict.scoring.dual_image_clip import dual_image_clip
from dualclip_lightning.predict.scoring.method import Common, Method
from dualclip_lightning.predict.scoring.registered import registered_method
from dualclip_lightning.registry import current_name


def build_method(name: str, common: Common, arguments: Mapping[str, Any]) -> Method:
    """Build a method with its arguments.

    Args:
        name: as in the registry, or its former name there.
        common: settings that are passed to every method.
        arguments: arguments of this method; those not given have the method's own defaults.

    Raises:
        ValueError: If the method or an argument is unknown (the message names the nearest one), a value is out of
            range, or the method cannot score the images of a detector (the message says what to do instead).
        dualclip_lightning.backbone.WeightsError: If the weights cannot be obtained.
    """
    name = current_name(name)
    check_method(name)
    return dual_image_clip(common, arguments) if name == METHOD else registered_method(name, common, arguments)
