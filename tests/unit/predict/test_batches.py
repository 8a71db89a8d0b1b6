"""Images of one size are computed together with every method, and score as they do one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.images.sources import file_sources
from dualclip_lightning.predict.judge import Share
from tests.towers import write_image
from tests.unit.predict.test_methods import CASES, OFFERED

OF_ANY_SHAPE = sorted(OFFERED.keys() - {"MuSc"})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths of seven images: five of one shape, and two of another between them."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{i}.png" for i in range(7)]
    for i, path in enumerate(paths):
        write_image(path, seed=i, size=(40, 80) if i % 4 == 1 else (64, 52))
    return paths


@pytest.fixture
def batches(monkeypatch):
    """Function that lists the numbers of views that a detector computes at once from now on."""

    def listen(detector):
        reader, sizes = detector._judge.method.reader, []
        compute = reader.compute

        def counted(views, names):
            sizes.append(len(views))
            return compute(views, names)

        monkeypatch.setattr(reader, "compute", counted)
        return sizes

    return listen


def scored(detector, photos, **chosen):
    return dict(detector.score(file_sources(photos, 25), **chosen))


def assert_same_bytes(found, expected):
    for position, prediction in found.items():
        assert prediction.score == expected[position].score
        assert prediction.patch_map.tobytes() == expected[position].patch_map.tobytes()


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_images_score_together_as_they_do_one_at_a_time(make_detector, photos, batches, name, arguments):
    chosen = {"method": name, "geometry": "squash", **arguments}
    alone, together = make_detector(batch_size=1, **chosen), make_detector(batch_size=4, **chosen)
    sizes, expected = batches(together), scored(alone, photos)
    found = scored(together, photos)
    assert sum(sizes) == len(photos)
    assert max(sizes) == 4
    for position, prediction in expected.items():
        assert found[position].references == prediction.references
        assert found[position].score == pytest.approx(prediction.score, abs=2e-6)
        np.testing.assert_allclose(found[position].patch_map, prediction.patch_map, atol=2e-6)
    assert len({prediction.score for prediction in found.values()}) == len(photos)


@pytest.mark.parametrize("name", OFFERED)
def test_neither_an_interruption_nor_a_division_changes_a_digit(make_detector, photos, name):
    detector = make_detector(method=name, geometry="squash", batch_size=4, **OFFERED[name][0])
    whole = scored(detector, photos)
    remaining = scored(detector, photos, done={0, 2, 5})
    assert whole.keys() - remaining.keys() == {0, 2, 5}
    assert_same_bytes(remaining, whole)
    shares = [scored(detector, photos, share=Share(part, 2)) for part in range(2)]
    assert sorted([*shares[0], *shares[1]]) == sorted(whole)
    for share in shares:
        assert share
        assert_same_bytes(share, whole)


@pytest.mark.parametrize("name", OF_ANY_SHAPE)
def test_images_of_another_shape_have_batches_of_their_own(make_detector, photos, batches, name):
    chosen = {"method": name, "geometry": "keep", "compare_with": "none"}
    alone, together = make_detector(batch_size=1, **chosen), make_detector(batch_size=4, **chosen)
    sizes, expected = batches(together), scored(alone, photos)
    found = scored(together, photos)
    assert sizes == [3, 1, 2, 1]
    for position, prediction in expected.items():
        assert found[position].score == pytest.approx(prediction.score, abs=2e-6)
        np.testing.assert_allclose(found[position].patch_map, prediction.patch_map, atol=2e-6)


def test_an_image_is_encoded_only_once_for_its_own_score_and_as_a_reference(make_detector, photos, batches):
    detector = make_detector(method="MuSc", geometry="squash", num_references=2, batch_size=4)
    sizes = batches(detector)
    scored(detector, photos)
    assert sum(sizes) == len(photos)
