"""Heatmaps of a station: which images are drawn, their names and colours, and what a kill leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.predict.output.pictures.heatmap import draw_heatmap
from dualclip_lightning.predict.watch import journal, options
from dualclip_lightning.predict.watch.heatmaps import StationHeatmaps
from tests.unit.predict.watch.test_kills import Killed

LEVELS = {"0.png": 20, "1.png": 200, "below/0.png": 250}


def drawn(line) -> list[str]:
    return sorted(path.name for path in (line.out / "heatmaps").glob("*"))


def write_all(line) -> None:
    for name, level in LEVELS.items():
        line.write(name, level)


def test_every_image_has_its_heatmap_under_the_number_of_its_row(line):
    write_all(line)
    line.run(move=True, heatmaps=StationHeatmaps(line.out, heatmap_format="png"))
    assert drawn(line) == ["000001-0.png", "000002-1.png", "000003-0.png"]
    assert [facts["heatmap"] for facts in line.facts] == [f"heatmaps/{name}" for name in drawn(line)]
    for facts in line.facts:
        level = LEVELS[facts["path"].split("/in/")[1]]
        pixels, patch_map = np.full((4, 6, 3), level, np.uint8), np.full((2, 2), level / 255, np.float32)
        expected = draw_heatmap(pixels, patch_map, (0.0, 1.0), 0.5 if level > 127 else None)
        assert np.array_equal(np.asarray(Image.open(line.out / facts["heatmap"])), np.asarray(expected))


def test_only_anomalous_images_are_drawn_if_that_is_asked_for(line):
    write_all(line)
    line.run(heatmaps=StationHeatmaps(line.out, anomalous_only=True))
    assert drawn(line) == ["000002-1.jpg", "000003-0.jpg"]
    assert [facts["heatmap"] is None for facts in line.facts] == [True, False, False]


class GoneWhenDrawn(StationHeatmaps):
    """Heatmaps whose image is removed just before it is drawn."""

    def draw(self, number, found):
        Path(found.name).unlink()
        return super().draw(number, found)


def test_an_image_that_is_gone_before_it_is_drawn_keeps_its_score(line):
    path = line.write("0.png", 20)
    line.run(heatmaps=GoneWhenDrawn(line.out))
    assert (len(line.rows), line.facts[0]["heatmap"], drawn(line)) == (1, None, [])
    (sentence,) = line.warned
    assert sentence.startswith(f"'{path}' was scored, but could not be drawn: ")


def test_a_heatmap_without_a_row_is_removed_at_the_next_start(line, monkeypatch):
    line.write("0.png", 20)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal.WatchJournal, "add", die)
        with pytest.raises(Killed):
            line.run(heatmaps=StationHeatmaps(line.out))
    assert drawn(line) == ["000001-0.jpg"]
    (line.folder / "0.png").unlink()
    line.write("1.png", 20)
    line.run(heatmaps=StationHeatmaps(line.out))
    assert drawn(line) == ["000001-1.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--heatmaps", "anomalous"], "--heatmaps anomalous needs a threshold"),
        (["--heatmaps", "all", "--scale", "run"], "a station has no end"),
        (["--scale", "0", "1"], "--scale is for heatmaps, and none are drawn"),
        (["--heatmap-format", "png"], "--heatmap-format is for heatmaps, and none are drawn"),
    ],
)
def test_options_without_effect_are_refused(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        options.parse([str(tmp_path), "--compare-with", "none", *arguments])
    assert words in capsys.readouterr().err


def test_the_scale_of_a_station_is_fixed(tmp_path):
    parse = options.parse
    assert parse([str(tmp_path), "--compare-with", "none", "--heatmaps", "all"]).scale == ["0", "1"]
    assert parse([str(tmp_path), "--compare-with", "none", "--heatmaps", "all", "--scale", "image"]).scale == ["image"]
