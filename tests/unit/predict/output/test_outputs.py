from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.images.painting import overlay
from dualclip_lightning.predict import Failure, Prediction, Threshold
from dualclip_lightning.predict.output import drawings
from dualclip_lightning.predict.output.drawings import Drawing, draw_all
from dualclip_lightning.predict.output.heatmap import GAP
from dualclip_lightning.predict.output.journal import Entry, Journal, file_stamp
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.tables import write_failures, write_scores
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.scoring import DRAWINGS
from tests.towers import write_image

MAP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
EVERYTHING = Drawing(heatmaps=True, maps=True, masks=True)


class Folder:
    """Images with scores in a journal, and the files drawn from them."""

    def __init__(self, root) -> None:
        self.out = root / "out"
        self.images = [root / "shots" / name for name in ("a.png", "b/a.png", "b/c.png")]
        for seed, path in enumerate(self.images):
            write_image(path, seed)
        self.layout = Layout(self.out, map(str, self.images))
        self.score()

    def score(self, score_map: np.ndarray = MAP) -> None:
        with Journal(self.out / ".work", {}) as journal:
            for path in self.images:
                journal.add(Prediction(str(path), 0.5, score_map, (40, 56)), file_stamp(path) or (0, 0))

    def draw(self, drawing: Drawing = EVERYTHING, threshold: Threshold | None = None) -> list[Failure | None]:
        with Journal(self.out / ".work", {}) as journal:
            return list(draw_all(journal, [str(path) for path in self.images], self.layout, threshold, drawing))

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
        (Drawing(), None, {"heatmaps"}),
        (Drawing(heatmaps=False), None, set()),
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
    folder.draw(Drawing(scale=scale))
    red, green, blue = lower_panel(folder.out / "heatmaps/a.png")[0, 0]
    plain = overlay(0, np.float32(share), (0, 1)).astype(int)
    assert (green - red, green - blue) == pytest.approx((plain[1] - plain[0], plain[1] - plain[2]), abs=1)


def test_by_default_the_scale_is_that_of_all_maps_of_the_run(folder):
    """The lower half of the scores of a run stays grey, independent of the image."""
    with Journal(folder.out / ".work", {}) as journal:
        for path, value in zip(folder.images, (0.40, 0.41, 0.45), strict=True):
            patches = np.full((3, 4), value, np.float32)
            journal.add(Prediction(str(path), 0.5, patches, (40, 56)), file_stamp(path))
    folder.draw(Drawing())
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
    folder.draw(Drawing())
    before = folder.files()
    drawing, threshold = Drawing(), None
    if change == "map":
        folder.score(MAP[::-1].copy())
    elif change == "threshold":
        threshold = Threshold(0.4, 0.5)
    elif change == "scale":
        drawing = Drawing(scale=(0.0, 0.5))
    elif change == "drawing":
        drawing = Drawing(drawer=Drawer(DRAWINGS["musc"]))
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


def test_names_at_the_limit_of_the_file_system_still_differ(tmp_path):
    names = [str(tmp_path / ("測" * 83 + f"{i}.png")) for i in range(2)]
    paths = [Layout(tmp_path / "out", names).path("heatmaps", name, ".png") for name in names]
    assert paths[0] != paths[1]
    for path in paths:
        assert len(os.fsencode(path.name)) + len(".") + len(".") + 32 <= 255  # length of the temporary name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def result_names(*names: str) -> list[str]:
    layout = Layout(Path("out"), names)
    return [layout.path("heatmaps", name, ".png").relative_to("out/heatmaps").as_posix() for name in names]


def test_a_suffix_is_part_of_the_name_only_if_necessary():
    assert result_names("cell.0001.png", "b/cell.0001.jpg", "none") == ["cell.0001.png", "b/cell.0001.png", "none.png"]
    assert result_names("b/a.png", "b/a.jpg", "a.png", "c.tif") == ["b/a_png.png", "b/a_jpg.png", "a.png", "c.png"]
    assert result_names("A.png", "a.jpg") == ["A_png.png", "a_jpg.png"]  # one file if case is ignored
    assert result_names("a.png", "a.jpg")[::-1] == result_names("a.jpg", "a.png")


@pytest.mark.parametrize(
    "names", [("a.png", "a.jpg", "a_png.tif"), ("a.png", "a.PNG", "A.png"), ("a.x", "a", "a_", "a_.y", "a_x")]
)
def test_no_two_results_share_a_file_even_if_case_is_ignored(names):
    assert len({name.casefold() for name in result_names(*names)}) == len(names)


def test_a_result_that_another_image_has_taken_is_drawn_again(folder):
    """Replace a.png by a.jpg between runs, both of which are drawn as a.png, and then restore it."""
    first, *others = folder.images
    folder.draw(Drawing(scale=None))
    before = (folder.out / "heatmaps/a.png").read_bytes()
    other = first.with_suffix(".jpg")
    Image.new("RGB", (56, 40), "red").save(other)
    folder.images = [other, *others]
    folder.score()
    folder.draw(Drawing(scale=None))
    assert (folder.out / "heatmaps/a.png").read_bytes() != before
    folder.images = [first, *others]
    folder.draw(Drawing(scale=None))
    assert (folder.out / "heatmaps/a.png").read_bytes() == before


def test_images_from_two_places_and_one_place_stay_apart(tmp_path):
    layout = Layout(tmp_path / "out", [str(tmp_path / "x/a.png"), str(tmp_path / "y/a.png")])
    assert layout.path("maps", str(tmp_path / "y/a.png"), ".npy") == tmp_path / "out/maps/y/a.npy"
    assert Layout(tmp_path, [str(tmp_path / "x/a.png")]).relative(str(tmp_path / "x/a.png")).as_posix() == "a.png"
    assert Layout(tmp_path, []).folder == tmp_path


def test_relative_names_lie_below_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path / "out", ["../shots/a.png", "b.png"])
    assert ".." not in layout.path("maps", "../shots/a.png", ".npy").relative_to(tmp_path / "out").parts


def entry(name: str, score: float, references=("r1.png",)) -> Entry:
    return Entry(name, (1, 2), score, 0.9, (40, 56), references, "squash: 48x48", 0.1234, ("alpha dropped",))


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_scores_have_one_row_per_image_with_all_its_details(tmp_path):
    path = tmp_path / "scores.csv"
    entries = [entry('a, "b"\n.png', 0.75), entry("not_utf8_\udcff.png", 0.25, ("r1.png", "r2.png"))]
    layout = Layout(tmp_path, [e.name for e in entries])
    heatmap = layout.path("heatmaps", entries[0].name, ".png")
    heatmap.parent.mkdir()
    heatmap.touch()
    write_scores(path, entries, Threshold(0.5, 0.5), layout)
    first, second = rows(path)
    assert first == {
        "path": 'a, "b"\n.png', "score": "0.750000", "decision": "anomalous", "p_value": "", "threshold": "0.500000",
        "references": "1", "reference": "r1.png",
        "heatmap": heatmap.relative_to(tmp_path).as_posix(), "height": "40", "width": "56", "geometry": "squash: 48x48",
        "seconds": "0.123", "notes": "alpha dropped",
    }  # fmt: skip
    assert (second["path"], second["decision"]) == ("not_utf8_\\udcff.png", "normal")
    assert (second["references"], second["reference"], second["heatmap"]) == ("2", "", "")
    write_scores(path, [entry("a.png", 0.75)], None, layout)
    assert (rows(path)[0]["decision"], rows(path)[0]["threshold"]) == ("", "")


def test_failures_are_listed_and_an_old_list_is_deleted_if_there_are_none(tmp_path):
    write_failures(tmp_path / "failures.csv", [Failure("a.png", "it is empty.")])
    assert rows(tmp_path / "failures.csv") == [{"path": "a.png", "reason": "it is empty."}]
    write_failures(tmp_path / "failures.csv", [])
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_leaves_no_file_and_keeps_the_others(folder, monkeypatch):
    real, written = drawings.write_bytes_atomically, []

    def full(path, content):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(path, content)

    monkeypatch.setattr(drawings, "write_bytes_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        folder.draw(Drawing())
    assert len(folder.files()) == 2
    monkeypatch.setattr(drawings, "write_bytes_atomically", real)
    before = folder.files()
    folder.draw(Drawing())
    assert len(folder.files()) == 3
    assert before.items() <= folder.files().items()
