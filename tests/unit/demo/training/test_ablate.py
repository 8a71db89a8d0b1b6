"""Training of models without one kind of scene or defect."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch

from dualclip_lightning.demo.training import ablate
from dualclip_lightning.demo.training.ablate import ablations, without
from dualclip_lightning.demo.training.seen import Seen
from dualclip_lightning.demo.training.train import Settings

KINDS = [
    frozenset({"part", "stain"}),
    frozenset({"part", "hole"}),
    frozenset({"board", "hole"}),
    frozenset({"board"}),
]


@pytest.fixture
def seen():
    maps = torch.arange(4.0)[:, None, None, None, None].expand(4, 2, 1, 1, 1)
    return Seen(maps, torch.zeros(4, 2, 1, 1), [("a",), ("b",), ("c",), ("d",)], KINDS)


@pytest.mark.parametrize(("kind", "expected"), [(None, [0, 1]), ("stain", [1, 2]), ("hole", [0, 3]), ("part", [2, 3])])
def test_groups_that_show_the_kind_are_left_out(seen, kind, expected):
    chosen = without(seen, kind, 2)
    assert chosen.maps[:, 0, 0, 0, 0].tolist() == expected
    assert chosen.names == [seen.names[number] for number in expected]
    assert chosen.kinds == [KINDS[number] for number in expected]


def test_too_few_groups_are_refused(seen):
    with pytest.raises(ValueError, match=r"Only 2 of 4 groups are without 'hole'\. Draw more, or use fewer\."):
        without(seen, "hole", 3)


def test_every_kind_gets_a_model_from_the_same_start(seen, monkeypatch):
    """Every model is trained on the same number of groups, none of which shows the kind."""
    start = torch.nn.Linear(1, 1)
    before = copy.deepcopy(start.state_dict())
    fitted = []

    def fit(clip, chosen, settings, report_every):
        assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())
        torch.nn.init.zeros_(clip.weight)
        fitted.append((settings.seed, len(chosen.names), frozenset().union(*chosen.kinds)))
        return clip

    monkeypatch.setattr(ablate, "fit", fit)
    monkeypatch.setattr(ablate, "validate", lambda *_: {"text": (0.0, 0.0)})
    rows = list(ablations(start, seen, seen, Settings(groups=2), seeds=2))
    kinds = ["board", "hole", "part", "stain"]
    assert [name for name, _ in rows] == ["nothing, seed 0", "nothing, seed 1", *kinds]
    assert Counter(count for _, count, _ in fitted) == {2: 6}
    assert [seed for seed, _, _ in fitted] == [0, 1, 0, 0, 0, 0]
    assert all(kind not in shown for kind, (_, _, shown) in zip(kinds, fitted[2:], strict=True))
