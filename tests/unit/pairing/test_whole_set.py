from __future__ import annotations

import pytest
import torch

from dualclip_lightning.pairing import PatchPrediction, WholeSetScoring

NAMES = [f"{i}.png" for i in range(7)]


class Recorder:
    """Method whose images contain their position, which is also their score; counts its calls."""

    def __init__(self) -> None:
        self.read_at: list[tuple[tuple[int, ...], int]] = []
        self.scored: list[list[int]] = []

    def read(self, positions, batch_size):
        self.read_at.append((positions, batch_size))
        return torch.tensor(positions, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).split(batch_size)

    def score(self, sets):
        self.scored.append([images.size for images in sets])
        images = torch.cat([batch for images in sets for batch in images.batches])
        assert images.dtype == torch.float32
        return PatchPrediction(images[:, 0, 0, 0], images[:, 0])


@pytest.mark.parametrize("batches", [[[0, 1, 2], [3, 4, 5], [6]], [[6, 2], [2, 0], [1, 3, 4, 5]]])
def test_every_batch_gets_its_own_scores_from_one_computation(batches):
    recorder = Recorder()
    scoring = WholeSetScoring(NAMES, [(4, 0, 6, 2), (5, 1, 3)], recorder.read, recorder.score)
    for batch in batches:
        found = scoring([NAMES[i] for i in batch], torch.zeros(len(batch), 3, 2, 2))
        assert found.scores.tolist() == batch
        assert found.maps[:, 0, 0].tolist() == batch
    assert recorder.scored == [[4, 3]]
    assert recorder.read_at == [((4, 0, 6, 2), len(batches[0])), ((5, 1, 3), len(batches[0]))]


def test_a_set_is_read_when_its_turn_comes():
    recorder, turns = Recorder(), []

    def score(sets):
        for images in sets:
            turns.append(len(recorder.read_at))
            assert sum(len(batch) for batch in images.batches) == images.size
        return PatchPrediction(torch.zeros(7), torch.zeros(7, 2, 2))

    WholeSetScoring(NAMES, [(0, 1, 2), (3, 4, 5, 6)], recorder.read, score)(NAMES[:2], torch.zeros(2, 3, 2, 2))
    assert len(turns) == 2


def test_an_image_that_is_not_in_the_data_set_is_refused():
    recorder = Recorder()
    with pytest.raises(KeyError, match="other"):
        WholeSetScoring(NAMES, [(0, 1)], recorder.read, recorder.score)(["other"], torch.zeros(1, 3, 2, 2))
    assert not recorder.scored
