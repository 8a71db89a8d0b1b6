"""The files that list regions, and their agreement with masks and scores."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_fill_holes
from skimage.draw import polygon2mask
from skimage.measure import label

from dualclip_lightning.predict import Prediction, Threshold
from dualclip_lightning.predict.options import main
from dualclip_lightning.predict.output.journal import Journal
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.regions.results import RegionFinder, write_regions
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER
from tests.towers import write_image

SIZES = ((40, 56), (64, 52), (90, 31))


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder):
    """Results of a run over nine images of three shapes, with masks and regions."""
    folder = tmp_path_factory.mktemp("run")
    for i in range(9):
        write_image(folder / "shots" / ("bad" if i % 2 else "good") / f"{i}.png", seed=i, size=SIZES[i % 3])
    arguments = ["--pretrained", str(tiny_folder), "--device", "cpu", "--masks", "--coco", "--out", str(folder / "out")]
    assert main([str(folder / "shots"), *arguments, "--threshold", str(middle(folder, arguments))]) == 0
    return folder / "out"


def middle(folder, arguments) -> float:
    """Return a threshold that about half of the images exceed."""
    scored = [*arguments[:-3], "--no-heatmaps", "--out", str(folder / "scored"), "--threshold", "none"]
    assert main([str(folder / "shots"), *(word for word in scored if word != "--masks")]) == 0
    with (folder / "scored" / "scores.csv").open(newline="") as table:
        return sorted(float(row["score"]) for row in csv.DictReader(table))[4]


def read_lines(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def read_mask(folder, line):
    return np.asarray(Image.open(folder / line["heatmap"].replace("heatmaps/", "masks/").replace(".jpg", ".png"))) > 0


def test_there_is_one_line_per_image_with_the_facts_of_scores_csv(run):
    with (run / "scores.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    lines = read_lines(run)
    assert [line["path"] for line in lines] == [row["path"] for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert f"{line['score']:.6f}" == row["score"]
        assert line["decision"] == row["decision"]
        assert (line["height"], line["width"]) == (int(row["height"]), int(row["width"]))
        assert line["heatmap"] == row["heatmap"]
        assert line["references"] == [row["reference"]]
    assert {line["decision"] for line in lines} == {"anomalous", "normal"}


def test_regions_are_those_of_the_mask(run):
    for line in read_lines(run):
        mask = read_mask(run, line)
        assert mask.shape == (line["height"], line["width"])
        assert len(line["regions"]) == label(mask, connectivity=2).max()
        assert sum(region["area"] for region in line["regions"]) == mask.sum()
        assert bool(line["regions"]) == (line["decision"] == "anomalous")
        for region in line["regions"]:
            x, y, width, height = region["box"]
            assert mask[y : y + height, x : x + width].sum() >= region["area"]
            assert region["mean"] <= region["peak"] <= 1


def test_the_coco_file_has_the_required_structure_and_the_regions_of_the_masks(run):
    dataset = json.loads((run / "coco.json").read_text())
    assert dataset.keys() >= {"info", "licenses", "images", "annotations", "categories"}
    assert [(each["id"], each["name"]) for each in dataset["categories"]] == [(1, "anomaly")]
    lines = {line["path"].partition("/shots/")[2]: line for line in read_lines(run)}
    images = {image["id"]: image for image in dataset["images"]}
    assert [image["file_name"] for image in images.values()] == list(lines)
    assert len(images) == 9
    annotations = dataset["annotations"]
    assert len({each["id"] for each in annotations}) == len(annotations) > 0
    for number, image in images.items():
        line = lines[image["file_name"]]
        assert (image["height"], image["width"]) == (line["height"], line["width"])
        own = [each for each in annotations if each["image_id"] == number]
        assert [each["bbox"] for each in own] == [region["box"] for region in line["regions"]]
        assert [each["area"] for each in own] == [region["area"] for region in line["regions"]]
        assert [each["score"] for each in own] == [region["peak"] for region in line["regions"]]
        drawn = np.zeros((image["height"], image["width"]), bool)
        for each in own:
            assert (each["category_id"], each["iscrowd"]) == (1, 0)
            (corners,) = each["segmentation"]
            assert len(corners) >= 8
            assert all(isinstance(corner, int) for corner in corners)
            # scikit-image counts from the centre of the first pixel, in the order of rows and columns.
            points = np.array(corners, float).reshape(-1, 2)[:, ::-1] - 0.5
            drawn |= polygon2mask(drawn.shape, points)
        labels = label(read_mask(run, line), connectivity=2)
        filled = [binary_fill_holes(labels == number) for number in range(1, labels.max() + 1)]
        np.testing.assert_array_equal(drawn, np.any([np.zeros_like(drawn), *filled], axis=0))


def test_pycocotools_reads_the_file_and_decodes_the_masks(run):
    coco = pytest.importorskip("pycocotools.coco").COCO(str(run / "coco.json"))
    for number in coco.getImgIds():
        for each in coco.loadAnns(coco.getAnnIds(number)):
            mask = coco.annToMask(each)
            rows, columns = np.nonzero(mask)
            assert mask.sum() >= each["area"]
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert box == each["bbox"]


@pytest.fixture
def journal(tmp_path):
    """Journal of a compared image and of one with a text score only, in a folder with a name that is not UTF-8."""
    journal = Journal(tmp_path / "out" / ".work", {})
    patch_map = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    for name, references in (("a_\udcff.png", ("b.png",)), ("b.png", ())):
        journal.add(Prediction(str(tmp_path / "shots" / name), 0.9, patch_map, (32, 48), references), (1, 1))
    with journal:
        yield journal


def write(journal, threshold, *, coco=True):
    folder = journal.folder.parent
    write_regions(journal.entries.values(), RegionFinder(journal, threshold, DEFAULT_DRAWER),
                  Layout(folder, journal.entries), coco=coco)  # fmt: skip
    return folder


def test_an_image_without_a_decision_has_no_list_and_is_not_among_the_images_of_coco(journal):
    folder = write(journal, Threshold(0.5, compared=True))
    compared, alone = read_lines(folder)
    assert compared["decision"] == "anomalous"
    assert len(compared["regions"]) == 1
    assert (alone["decision"], alone["regions"]) == (None, None)
    assert any("no decision" in note for note in alone["notes"])
    dataset = json.loads((folder / "coco.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == ["a_\\udcff.png"]


def test_without_a_threshold_or_the_option_a_coco_file_of_an_earlier_run_is_removed(journal):
    for threshold, coco in ((None, True), (Threshold(0.5), False)):
        folder = write(journal, Threshold(0.5))
        assert (folder / "coco.json").is_file()
        write(journal, threshold, coco=coco)
        assert not (folder / "coco.json").exists()
    assert [line["regions"] is None for line in read_lines(write(journal, None))] == [True, True]


def test_of_two_regions_the_small_one_is_left_out_of_all_files(tmp_path, tiny_folder):
    """With a minimum area, masks and the lists of regions leave out the same regions."""
    for i in range(4):
        write_image(tmp_path / "shots" / f"{i}.png", seed=i, size=(64, 96))
    arguments = [str(tmp_path / "shots"), "--pretrained", str(tiny_folder), "--device", "cpu", "--threshold", "0",
                 "--masks", "--coco", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*arguments, "--min-area", "100000"]) == 0
    lines = read_lines(tmp_path / "out")
    assert [len(line["regions"]) for line in lines] == [1] * 4
    for line in lines:
        assert read_mask(tmp_path / "out", line).sum() == line["regions"][0]["area"]
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["annotations"]) == 4


def test_a_former_run_gives_its_minimum_area_and_runs_without_one_are_still_recognised(tmp_path, tiny_folder):
    for i in range(2):
        write_image(tmp_path / "shots" / f"{i}.png", seed=i)
    arguments = [str(tmp_path / "shots"), "--pretrained", str(tiny_folder), "--device", "cpu", "--no-heatmaps",
                 "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*arguments, "--threshold", "0", "--min-area", "7"]) == 0
    assert main([*arguments, "--from", str(tmp_path / "out"), "--coco"]) == 0
    first, second = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("out", "out2"))
    assert first["options"]["min_area"] == second["options"]["min_area"] == 7
    assert "coco" not in first["options"]
    assert second["options"]["coco"] is True


def test_the_gallery_gets_polygons_only_where_no_heatmap_shows_the_outlines(journal):
    folder, names = journal.folder.parent, list(journal.entries)
    layout = Layout(folder, names)
    heatmap = layout.path("heatmaps", names[1])
    heatmap.parent.mkdir()
    heatmap.write_bytes(b"")
    finder = RegionFinder(journal, Threshold(0.5), DEFAULT_DRAWER)
    shown = write_regions(journal.entries.values(), finder, layout, coco=False)
    assert list(shown) == names
    (plain,), (drawn,) = shown.values()
    assert plain == drawn | {"polygon": plain["polygon"]}
    assert len(plain["polygon"]) >= 8
    assert write_regions(journal.entries.values(), finder._replace(threshold=Threshold(0.95)), layout, coco=False) == {}
