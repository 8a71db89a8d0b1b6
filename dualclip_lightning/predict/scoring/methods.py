"""A method by its name."""

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
    """A method with its arguments.

    Args:
        name: as in the registry, or its former name there.
        common: settings that every method receives.
        arguments: of this method; it has its own defaults for the others.

    Raises:
        ValueError: an unknown method or argument, with the nearest one; a value out of range; or a method that cannot
            score the images of a detector, with what to do instead.
        dualclip_lightning.backbone.WeightsError: weights that cannot be had.
    """
    name = current_name(name)
    check_method(name)
    return dual_image_clip(common, arguments) if name == METHOD else registered_method(name, common, arguments)
