"""The pictures of a run, drawn beside the scoring or after it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.images.painting import overlay
from dualclip_lightning.predict import Failure, Prediction, Threshold
from dualclip_lightning.predict.output.journal import Journal, file_stamp
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.pictures import drawing as drawing_module
from dualclip_lightning.predict.output.pictures.drawing import Drawing
from dualclip_lightning.predict.output.pictures.drawings import Drawings
from dualclip_lightning.predict.output.pictures.heatmap import GAP, draw_heatmap
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.scoring import DRAWINGS
from tests.towers import write_image

MAP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
PNG = Drawing(heatmap_format="png")
EVERYTHING = replace(PNG, maps=True, masks=True)


class Folder:
    """Images with scores in a journal, and the files drawn from them."""

    def __init__(self, root) -> None:
        self.out = root / "out"
        self.images = [root / "shots" / name for name in ("a.png", "b/a.png", "b/c.png")]
        for seed, path in enumerate(self.images):
            write_image(path, seed)
        self.score()

    def score(self, score_map: np.ndarray = MAP) -> None:
        with Journal(self.out / ".work", {}) as journal:
            for path in self.images:
                journal.add(Prediction(str(path), 0.5, score_map, (40, 56)), file_stamp(path) or (0, 0))

    @property
    def names(self) -> list[str]:
        return [str(path) for path in self.images]

    def layout(self, drawing: Drawing = EVERYTHING) -> Layout:
        return Layout(self.out, self.names, drawing.heatmap_format)

    def draw(self, drawing: Drawing = EVERYTHING, threshold: Threshold | None = None) -> list[Failure | None]:
        with self.drawings(drawing) as drawings:
            return list(drawings.finish(self.names, self.layout(drawing), threshold))

    @contextmanager
    def drawings(self, drawing: Drawing) -> Iterator[Drawings]:
        with Journal(self.out / ".work", {}) as journal, Drawings(journal, drawing) as drawings:
            yield drawings

    def contents(self) -> dict[str, bytes]:
        return {name: (self.out / name).read_bytes() for name in self.files()}

    def files(self) -> dict[str, int]:
        """Return the drawn files with their times."""
        found = (path for kind in ("heatmaps", "maps", "masks") for path in (self.out / kind).rglob("*"))
        return {str(p.relative_to(self.out)): p.stat().st_mtime_ns for p in found if p.is_file()}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_results_have_the_folder_structure_of_the_images(folder):
    assert folder.draw(threshold=Threshold(0.5, 0.5)) == [None] * 3
    assert sorted(folder.files()) == sorted(
        f"{kind}/{name}{suffix}"
        for kind, suffix in {"heatmaps": ".png", "maps": ".npy", "masks": ".png"}.items()
        for name in ("a", "b/a", "b/c")
    )


@pytest.mark.parametrize(
    ("drawing", "threshold", "kinds"),
    [
        (PNG, None, {"heatmaps"}),
        (replace(PNG, heatmaps=False), None, set()),
        (replace(EVERYTHING, heatmaps=False), Threshold(0.5, 0.5), {"maps", "masks"}),
        (EVERYTHING, Threshold(0.5), {"heatmaps", "maps", "masks"}),
        (EVERYTHING, None, {"heatmaps", "maps"}),
    ],
)
def test_only_requested_results_are_drawn(folder, drawing, threshold, kinds):
    folder.draw(drawing, threshold)
    assert {name.split("/")[0] for name in folder.files()} == kinds


def test_maps_and_masks_have_the_size_of_the_image_and_agree(folder):
    folder.draw(threshold=Threshold(0.45, 0.4))
    full = np.load(folder.out / "maps/b/a.npy", allow_pickle=False)
    mask = np.asarray(Image.open(folder.out / "masks/b/a.png"))
    assert (full.shape, full.dtype) == ((40, 56), np.float32)
    np.testing.assert_array_equal(mask, np.where(full > 0.4, 255, 0))
    # AnoCLIP's drawing: the mean over 3x3 patches, in which the border is repeated.
    assert full[0, 0] == pytest.approx((4 * MAP[0, 0] + 2 * MAP[0, 1] + 2 * MAP[1, 0] + MAP[1, 1]) / 9)
    assert full[-1, -1] == pytest.approx((4 * MAP[-1, -1] + 2 * MAP[-1, -2] + 2 * MAP[-2, -1] + MAP[-2, -2]) / 9)


def lower_panel(path):
    drawn = np.asarray(Image.open(path)).astype(int)
    return drawn[(drawn.shape[0] - GAP) // 2 + GAP :]


@pytest.mark.parametrize(("scale", "share"), [((0.0, 1.0), 0.5), ((0.0, 0.5), 1.0), ((0.5, 1.0), 0.0)])
def test_the_heatmap_has_the_requested_scale(folder, scale, share):
    folder.score(np.full((3, 4), 0.5, np.float32))
    folder.draw(replace(PNG, scale=scale))
    red, green, blue = lower_panel(folder.out / "heatmaps/a.png")[0, 0]
    plain = overlay(0, np.float32(share), (0, 1)).astype(int)
    assert (green - red, green - blue) == pytest.approx((plain[1] - plain[0], plain[1] - plain[2]), abs=1)


def test_by_default_the_scale_is_that_of_all_maps_of_the_run(folder):
    """The lower half of the scores of a run stays grey, independent of the image."""
    with Journal(folder.out / ".work", {}) as journal:
        for path, value in zip(folder.images, (0.40, 0.41, 0.45), strict=True):
            patches = np.full((3, 4), value, np.float32)
            journal.add(Prediction(str(path), 0.5, patches, (40, 56)), file_stamp(path))
    folder.draw(PNG)
    coloured = {
        name: np.ptp(lower_panel(folder.out / "heatmaps" / name)[0, 0]) for name in ("a.png", "b/a.png", "b/c.png")
    }
    assert coloured["a.png"] == coloured["b/a.png"] == 0
    assert coloured["b/c.png"] > 100


def test_existing_results_are_not_drawn_again(folder):
    folder.draw()
    before = folder.files()
    assert folder.draw() == [None] * 3
    assert folder.files() == before


@pytest.mark.parametrize("change", ["map", "threshold", "scale", "drawing", "image", "gone"])
def test_outdated_results_are_drawn_again(folder, change):
    folder.draw(PNG)
    before = folder.files()
    drawing, threshold = PNG, None
    if change == "map":
        folder.score(MAP[::-1].copy())
    elif change == "threshold":
        threshold = Threshold(0.4, 0.5)
    elif change == "scale":
        drawing = replace(PNG, scale=(0.0, 0.5))
    elif change == "drawing":
        drawing = replace(PNG, drawer=Drawer(DRAWINGS["musc"]))
    elif change == "image":
        for path in folder.images:
            write_image(path, seed=77)
        folder.score()
    else:
        for name in before:
            (folder.out / name).unlink()
    folder.draw(drawing, threshold)
    after = folder.files()
    assert all(after[name] != before[name] for name in before)


def test_an_image_that_has_changed_or_gone_is_reported_and_the_rest_is_drawn(folder):
    folder.images[0].unlink()
    write_image(folder.images[1], seed=5, size=(30, 30))
    first, second, third = folder.draw()
    assert (first.name, second.name, third) == (str(folder.images[0]), str(folder.images[1]), None)
    assert "scored, but could not be drawn: there is no such file" in first.reason
    assert "the file has changed since. Run the same command again." in second.reason
    assert sorted(folder.files()) == ["heatmaps/b/c.png", "maps/b/c.npy"]


def test_a_result_that_another_image_has_taken_is_drawn_again(folder):
    """Replace a.png by a.jpg between runs, both of which are drawn as a.png, and then restore it."""
    first, *others = folder.images
    folder.draw(replace(PNG, scale=None))
    before = (folder.out / "heatmaps/a.png").read_bytes()
    other = first.with_suffix(".jpg")
    Image.new("RGB", (56, 40), "red").save(other)
    folder.images = [other, *others]
    folder.score()
    folder.draw(replace(PNG, scale=None))
    assert (folder.out / "heatmaps/a.png").read_bytes() != before
    folder.images = [first, *others]
    folder.draw(replace(PNG, scale=None))
    assert (folder.out / "heatmaps/a.png").read_bytes() == before


class Disk:
    """A disk that is full after some files."""

    def __init__(self, monkeypatch, files: int) -> None:
        self.left = files
        self._write, self._lock = drawing_module.write_bytes_atomically, threading.Lock()
        monkeypatch.setattr(drawing_module, "write_bytes_atomically", self.write)

    def write(self, path, content) -> None:
        with self._lock:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            self.left -= 1
            self._write(path, content)


def test_a_result_that_cannot_be_written_leaves_no_file_and_keeps_the_others(folder, monkeypatch):
    disk = Disk(monkeypatch, files=2)
    with pytest.raises(OSError, match="No space left"):
        folder.draw(PNG)
    assert len(folder.files()) == 2
    disk.left = 9
    before = folder.files()
    folder.draw(PNG)
    assert len(folder.files()) == 3
    assert before.items() <= folder.files().items()


@pytest.mark.parametrize("level", [None, 0.4])
def test_a_png_has_every_value_of_the_heatmap_and_a_jpeg_looks_like_it(folder, level):
    threshold = None if level is None else Threshold(level)
    for encoding in ("png", "jpeg"):
        assert folder.draw(Drawing(scale=(0.1, 0.8), heatmap_format=encoding), threshold) == [None] * 3
        files = {Path(name).suffix for name in folder.files()}
        assert files == {{"png": ".png", "jpeg": ".jpg"}[encoding]}
        for name, image in zip(folder.names, folder.images, strict=True):
            expected = np.asarray(draw_heatmap(np.asarray(Image.open(image)), MAP, (0.1, 0.8), level)).astype(float)
            with Image.open(folder.layout(Drawing(heatmap_format=encoding)).path("heatmaps", name)) as picture:
                assert picture.format == encoding.upper()
                difference = np.abs(np.asarray(picture) - expected)
            assert difference.max() == 0 if encoding == "png" else 0 < difference.mean() < 3


KNOWN = replace(EVERYTHING, scale=(0.0, 1.0))


def test_images_are_drawn_before_the_run_ends_if_scale_and_threshold_are_known(folder):
    threshold = Threshold(0.45, 0.4)
    folder.draw(KNOWN, threshold)
    expected = folder.contents()
    for name in folder.files():
        (folder.out / name).unlink()
    with folder.drawings(KNOWN) as drawings:
        for entry in drawings.journal.entries.values():
            drawings.begin(entry, MAP, folder.layout(), threshold)
        drawings.wait()
        assert folder.contents() == expected
        drawn = folder.files()
        assert list(drawings.finish(folder.names, folder.layout(), threshold)) == [None] * 3
    assert folder.files() == drawn


def test_the_scale_of_a_run_is_awaited_unless_there_are_no_heatmaps(folder):
    for drawing, kinds in ((EVERYTHING, set()), (replace(EVERYTHING, heatmaps=False), {"maps"})):
        with folder.drawings(drawing) as drawings:
            drawings.begin(drawings.journal.entries[folder.names[0]], MAP, folder.layout(), None)
            drawings.wait()
            assert {name.split("/")[0] for name in folder.files()} == kinds


def test_maps_are_read_by_one_thread(folder, monkeypatch):
    """Python 3.11 may fail if NumPy parses the headers of several files at once."""
    readers, read = set(), Journal.patch_map

    def read_and_tell(journal, name):
        readers.add(threading.get_ident())
        return read(journal, name)

    monkeypatch.setattr(Journal, "patch_map", read_and_tell)
    folder.draw(EVERYTHING)
    assert readers == {threading.get_ident()}


def test_an_image_that_goes_between_its_score_and_its_drawing_is_reported_once(folder):
    with folder.drawings(KNOWN) as drawings:
        folder.images[1].unlink()
        for entry in drawings.journal.entries.values():
            drawings.begin(entry, MAP, folder.layout(), None)
        first, second, third = drawings.finish(folder.names, folder.layout(), None)
    assert (first, second.name, third) == (None, folder.names[1], None)
    with Journal(folder.out / ".work", {}) as journal:
        assert set(journal.entries) == set(folder.names)


def test_a_full_disk_beside_the_scoring_is_reported_at_the_end_and_images_are_drawn_once_there_is_room(
    folder, monkeypatch
):
    disk = Disk(monkeypatch, files=2)
    with folder.drawings(KNOWN) as drawings:
        for entry in drawings.journal.entries.values():
            drawings.begin(entry, MAP, folder.layout(), None)
        with pytest.raises(OSError, match="No space left"):
            list(drawings.finish(folder.names, folder.layout(), None))
    disk.left = 9
    assert folder.draw(KNOWN) == [None] * 3
    assert len(folder.files()) == 6


def test_images_are_drawn_again_if_their_places_change_because_others_failed(folder):
    """Without the image at the top, the common folder of the others is that below it."""
    with folder.drawings(KNOWN) as drawings:
        for entry in drawings.journal.entries.values():
            drawings.begin(entry, MAP, folder.layout(), None)
        folder.images = folder.images[1:]
        assert list(drawings.finish(folder.names, folder.layout(), None)) == [None] * 2
    assert sorted(folder.files()) == ["heatmaps/a.png", "heatmaps/c.png", "maps/a.npy", "maps/c.npy"]
    drawn = folder.contents()
    folder.draw(KNOWN)
    assert folder.contents() == drawn
