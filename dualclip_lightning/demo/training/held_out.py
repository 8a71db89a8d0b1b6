"""Materials and kinds excluded from training, for the demo's figures and for the synthetic validation."""

from __future__ import annotations

DEMO_MATERIALS = frozenset({"bamboo", "carpet", "chipboard", "cork", "granite", "terrazzo"})
"""Materials of the demo data, used neither in training nor in validation."""
DEMO_FAULTS = frozenset({"dent", "scratch"})
"""Kinds of defects in the demo data that are excluded from training."""
VALIDATION_EVERY = 8
"""Every eighth material in alphabetical order, starting with the first, is used only for validation."""
VALIDATION_FAULTS = frozenset({"corrosion", "cut", "bubble", "chip"})
"""Kinds of defects of the validation in addition to `DEMO_FAULTS`."""

VALIDATION_SCENES = frozenset({"cable", "label"})
"""Kinds of scenes that only the validation has, in addition to all others."""


def validation_materials(names: list[str]) -> frozenset[str]:
    """Return the materials used only for validation, given all except the demo's."""
    return frozenset(sorted(set(names) - DEMO_MATERIALS)[::VALIDATION_EVERY])
