from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

from dualclip_lightning.predict import Failure, Threshold
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.tables import write_failures, write_scores


def test_names_at_the_limit_of_the_file_system_still_differ(tmp_path):
    names = [str(tmp_path / ("測" * 83 + f"{i}.png")) for i in range(2)]
    paths = [Layout(tmp_path / "out", names).path("heatmaps", name) for name in names]
    assert paths[0] != paths[1]
    for path in paths:
        assert len(os.fsencode(path.name)) + len(".") + len(".") + 32 <= 255  # length of the temporary name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def result_names(*names: str) -> list[str]:
    layout = Layout(Path("out"), names, "png")
    return [layout.path("heatmaps", name).relative_to("out/heatmaps").as_posix() for name in names]


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


def test_heatmaps_have_the_suffix_of_their_format():
    for arguments, suffix in (((), ".jpg"), (("jpeg",), ".jpg"), (("png",), ".png")):
        layout = Layout(Path("out"), ["a.tif"], *arguments)
        assert layout.path("heatmaps", "a.tif") == Path(f"out/heatmaps/a{suffix}")
        assert layout.path("masks", "a.tif") == Path("out/masks/a.png")


def test_images_from_two_places_and_one_place_stay_apart(tmp_path):
    layout = Layout(tmp_path / "out", [str(tmp_path / "x/a.png"), str(tmp_path / "y/a.png")])
    assert layout.path("maps", str(tmp_path / "y/a.png")) == tmp_path / "out/maps/y/a.npy"
    assert Layout(tmp_path, [str(tmp_path / "x/a.png")]).relative(str(tmp_path / "x/a.png")).as_posix() == "a.png"
    assert Layout(tmp_path, []).folder == tmp_path


def test_relative_names_lie_below_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path / "out", ["../shots/a.png", "b.png"])
    assert ".." not in layout.path("maps", "../shots/a.png").relative_to(tmp_path / "out").parts


def entry(name: str, score: float, references=("r1.png",)) -> Entry:
    return Entry(name, (1, 2), score, 0.9, (40, 56), references, "squash: 48x48", 0.1234, ("alpha dropped",))


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_scores_have_one_row_per_image_with_all_its_details(tmp_path):
    path = tmp_path / "scores.csv"
    entries = [entry('a, "b"\n.png', 0.75), entry("not_utf8_\udcff.png", 0.25, ("r1.png", "r2.png"))]
    layout = Layout(tmp_path, [e.name for e in entries])
    heatmap = layout.path("heatmaps", entries[0].name)
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
