"""Settings out of range are refused by the constructor."""

from __future__ import annotations

import math

import pytest

from dualclip_lightning.adaptation import AdaptationSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("steps", 1.5),
        ("steps", 2.0),
        ("steps", True),
        ("steps", math.nan),
        ("steps", math.inf),
        ("steps", None),
        ("learning_rate", 0),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("learning_rate", "1e-3"),
        ("weight_decay", -0.1),
        ("residual", 1.1),
        ("residual", None),
        ("blend", "cosine"),
        ("blend", None),
        ("map_weight", -0.1),
        ("anomaly_weight", math.inf),
        ("consistency_weight", -1),
        ("patch_share", 1.0),
        ("patch_share", "half"),
        ("mask_area", (0, 0.5)),
        ("mask_area", (0.5, 0.1)),
        ("mask_area", (0.1, 1.0)),
        ("mask_area", 0.3),
        ("mask_area", (0.1, 0.2, 0.3)),
        ("opacity", (math.nan, 1.0)),
        ("opacity", "ab"),
        ("opacity", (0.0, 1.0)),
        ("opacity", (0.5, 1.1)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"Expected {name} to be"):
        AdaptationSettings(**{name: value})
