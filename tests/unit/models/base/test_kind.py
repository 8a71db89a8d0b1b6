"""Kinds of methods, and their text in files and tables."""

from __future__ import annotations

import pytest

from dualclip_lightning.models.base import Kind


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.INDUCTIVE, "inductive"),
        (Kind.PAIR, "pair"),
        (Kind.FEW_SHOT, "few-shot"),
        (Kind.FULL_SHOT, "full-shot"),
        (Kind.AUXILIARY, "auxiliary"),
        (Kind.TRANSDUCTIVE, "transductive"),
        (Kind.TRANSDUCTIVE | Kind.AUXILIARY, "auxiliary, transductive"),
        (Kind.AUXILIARY | Kind.INDUCTIVE, "auxiliary"),
    ],
)
def test_the_text_of_a_kind_is_that_of_results(kind, text):
    assert str(kind) == f"{kind}" == text


def test_a_kind_is_known_by_what_it_depends_on():
    both = Kind.AUXILIARY | Kind.TRANSDUCTIVE
    assert Kind.AUXILIARY in both
    assert Kind.PAIR not in both
    assert not Kind.INDUCTIVE
