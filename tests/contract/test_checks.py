"""Checks of `dualclip_lightning.testing` for every registered method. Registering a method is enough to include it."""

from __future__ import annotations

import pytest

from dualclip_lightning.registry import MODELS
from dualclip_lightning.testing import method_checks
from tests.contract.cases import CASES, maker

CHECKS = {case: dict(method_checks(maker(*each), **each[1])) for case, each in CASES.items()}
NAMES = list(CHECKS["ClipZeroShot"])
OF_THE_SHELL = {"the_class_name_is_honoured", "fit_leaves_a_checkpoint", "its_own_metrics_are_computed"}
"""Checks of what the shell does for every method alike, whatever its arguments; they take the longest."""
OF_THE_CLASS = {
    "is_a_method_of_anomalib", "an_unknown_argument_is_refused_by_name", "a_bad_argument_is_refused_by_name",
}  # fmt: skip
"""Checks of the class and its constructor, which other settings do not change."""
PAIRS = [
    pytest.param(case, check, id=f"{case}-{check}", marks=[pytest.mark.slow] * (case not in MODELS))
    for case in CASES
    for check in NAMES
    if case in MODELS or check not in OF_THE_SHELL | OF_THE_CLASS
]
"""All cases; those with other settings than the defaults are slow, because they repeat checks."""
BY_DEFINITION = {
    ("AnoCLIP with a carried optimizer", "the_order_of_images_changes_no_score"),
    ("AnoCLIP with a carried optimizer", "a_score_depends_on_no_other_image"),
}
"""Checks that a case must fail: with a carried optimizer, the state of AdamW makes scores depend on earlier images."""


@pytest.mark.parametrize(("case", "check"), PAIRS)
def test_a_registered_method_keeps_to_the_contract(case, check):
    if (case, check) in BY_DEFINITION:
        with pytest.raises(AssertionError, match="differs"):
            CHECKS[case][check]()
        return
    CHECKS[case][check]()
