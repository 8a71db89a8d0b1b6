"""Images of one size are computed together with every method, and score as they do one at a time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from dualclip_lightning.images import sources
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import file_sources
from dualclip_lightning.predict.input.ahead import ReadAhead
from dualclip_lightning.predict.judge import Share
from tests.towers import write_image
from tests.unit.predict.test_methods import OFFERED

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


@pytest.mark.parametrize(
    ("name", "arguments"),
    [*((name, OFFERED[name][0]) for name in OFFERED), ("AnoCLIP", OFFERED["AnoCLIP"][2]), ("MuSc", OFFERED["MuSc"][1])],
    ids=str,
)
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


@pytest.fixture
def opened(photos, monkeypatch):
    """Positions of the photos that were read, in any order, with all that was begun when a detector is done."""
    numbers = []
    read = sources.read_picture

    def counted(path, max_megapixels):
        numbers.append(photos.index(path))
        return read(path, max_megapixels)

    monkeypatch.setattr(sources, "read_picture", counted)
    monkeypatch.setattr(ReadAhead, "close", lambda self: self._pool.shutdown(wait=True))
    return numbers


@pytest.mark.parametrize(("done", "expected"), [
    ((), [0, 1, 2, 3, 4, 5, 6]), ((2, 3), [0, 1, 4, 5, 6]), ((0, 1, 3, 4), [2, 3, 4, 5, 6]), (range(6), [6]),
])  # fmt: skip
def test_of_images_that_are_scored_only_those_encoded_with_others_are_read(
    make_detector, photos, opened, done, expected
):
    detector = make_detector(batch_size=2, compare_with="none")
    assert len(scored(detector, photos, done=set(done))) == 7 - len(done)
    assert sorted(opened) == expected


def test_a_share_reads_only_its_images(make_detector, photos, opened):
    detector = make_detector(batch_size=2, compare_with="none")
    assert sorted(scored(detector, photos, share=Share(1, 2))) == [2, 3, 6]
    assert sorted(opened) == [2, 3, 6]


@pytest.mark.parametrize(("geometry", "expected"), [("keep", [0, 1, 2, 3]), ("tiles", [0])])
def test_one_batch_is_read_ahead_but_not_of_images_in_tiles(make_detector, photos, opened, geometry, expected):
    detector = make_detector(batch_size=2, compare_with="none", geometry=geometry)
    found = detector.score(file_sources(photos, 25))
    next(found)
    found.close()
    assert sorted(opened) == expected


def test_an_error_of_a_call_ends_its_threads_while_it_is_handled(make_detector, photos, tmp_path):
    (tmp_path / "empty.png").touch()
    detector = make_detector(batch_size=2, compare_with="none")
    with pytest.raises(ImageError, match=r"empty\.png") as raised:
        detector.predict([tmp_path / "empty.png", *photos])
    assert raised.value.__traceback__ is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
