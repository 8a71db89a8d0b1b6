"""What training never draws: for the demo's figures, and for the synthetic validation that choices are made on."""

from __future__ import annotations

DEMO_MATERIALS = frozenset({"bamboo", "carpet", "chipboard", "cork", "granite", "terrazzo"})
"""Materials of the demo data: neither trained nor chosen on."""
DEMO_FAULTS = frozenset({"dent", "scratch"})
"""Kinds of defects in the demo data that are not trained on."""
VALIDATION_EVERY = 8
"""Every eighth material in order of name, the first one included, is for validation only."""
VALIDATION_FAULTS = frozenset({"corrosion", "cut", "bubble", "chip"})
"""Kinds of defects of the validation beside `DEMO_FAULTS`."""

VALIDATION_SCENES = frozenset({"cable", "label"})
"""Kinds of scenes that only the validation has; it has all others, too."""


def validation_materials(names: list[str]) -> frozenset[str]:
    """The materials that are for validation only, of all that are not the demo's."""
    return frozenset(sorted(set(names) - DEMO_MATERIALS)[::VALIDATION_EVERY])
