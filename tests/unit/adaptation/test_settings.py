"""Settings out of range are refused when they are made."""

from __future__ import annotations

import math

import pytest

from dualclip_lightning.adaptation import AdaptationSettings, out_of_memory_advice


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("steps", 1.5),
        ("learning_rate", 0),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("weight_decay", -0.1),
        ("residual", 1.1),
        ("map_weight", -0.1),
        ("anomaly_weight", math.inf),
        ("consistency_weight", -1),
        ("patch_share", 1.0),
        ("mask_area", (0, 0.5)),
        ("mask_area", (0.5, 0.1)),
        ("mask_area", (0.1, 1.0)),
        ("opacity", (0.0, 1.0)),
        ("opacity", (0.5, 1.1)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"Expected {name} to be"):
        AdaptationSettings(**{name: value})


def test_running_out_of_memory_says_what_to_lower():
    with pytest.raises(RuntimeError, match="A batch of 8 does not fit in memory"), \
            out_of_memory_advice(8):  # fmt: skip
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="something else"), out_of_memory_advice(8):
        raise RuntimeError("something else")
