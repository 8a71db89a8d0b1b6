"""The report is a single file, agrees with the run, and has the curves of scikit-learn."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.integrate import trapezoid
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from dualclip_lightning.benchmark.report import figures
from dualclip_lightning.benchmark.report.ablations import find_ablations, flat
from dualclip_lightning.benchmark.report.curves import (
    PANELS,
    category_lines,
    image_curve,
    mean_lines,
    pixel_curve,
    read,
)
from dualclip_lightning.benchmark.report.figures import SCALE_HEIGHT, plot_ablation, plot_curves, plot_gallery, scales
from dualclip_lightning.benchmark.report.gallery import examples, pick, read_image
from dualclip_lightning.benchmark.report.html import write_report
from dualclip_lightning.benchmark.report.summary import summarise
from dualclip_lightning.metrics.functional import pixel_metrics
from tests.benchmark_runs import cell, failed, frame, write_run

PANEL = {panel.title: panel for panel in PANELS}
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Parser that collects the elements of a page and checks that they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cells = [cell(m, c, s, 0.5 + 0.1 * s) for m in ("text", "<joint>") for c in ("cork", "pcb") for s in (0, 1)]
    return write_run(
        tmp_path_factory.mktemp("any") / "run",
        [*cells, failed(method="text", category="carpet")],
        with_maps=("text", "<joint>"),
    )


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_report_needs_nothing_but_itself(page):
    assert not page.all("script")
    assert not page.all("link")
    addresses = [each["src"] for each in page.all("img")] + [each["href"] for each in page.all("a")]
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "url(" not in page.text
    assert "@import" not in page.text


@pytest.mark.slow
def test_every_link_has_its_target_and_every_name_occurs_once(page):
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    assert {each["href"][1:] for each in page.all("a")} <= set(names)


@pytest.mark.slow
def test_pictures_and_tables_are_accessible_without_sight(page):
    assert page.all("html") == [{"lang": "en"}]
    assert all(len(each["alt"]) > 40 for each in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(each["scope"] in {"col", "row"} for each in page.all("th"))


@pytest.mark.slow
def test_names_are_escaped(page):
    assert "<joint>" in page.text
    assert not page.all("joint")


@pytest.mark.slow
def test_every_category_has_its_table_curves_and_gallery(page):
    assert len([each for each in page.all("figure") if each["class"] == "curves"]) == 1 + 2
    assert len([each for each in page.all("figure") if each["class"] == "gallery"]) == 2
    for name in ("cork", "pcb", "carpet"):
        assert f"Demo, {name} (in %)" in page.text


@pytest.mark.slow
def test_failures_and_provenance_are_stated(page):
    for said in ("RuntimeError: out of memory", "Cells: 9, without a result: 1", "laion400m_e32", "abababababab",
                 "c0ffee", "Resize(size=[240, 240])", "torch 2.5.0", "alpha=0.5", "name: synthetic"):  # fmt: skip
        assert said in page.text


@pytest.mark.slow
def test_a_report_of_the_same_run_is_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "plot_curves", lambda _: figures.address(b"", "svg"))  # tested below
    run = write_run(tmp_path / "run", [cell("text", "cork")], with_maps=("text",))
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.slow
def test_without_maps_there_are_image_curves_and_a_sentence(tmp_path):
    run = write_run(tmp_path / "run", [cell("text", "cork")])
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "No maps were kept" in page.text
    assert [each["class"] for each in page.all("figure")] == ["curves", "curves"]


@pytest.mark.slow
def test_images_without_labels_have_no_curve_and_are_not_an_error(tmp_path):
    run = write_run(tmp_path / "run", [cell("text", "cork")], with_maps=("text",))
    run.images["label"] = np.nan
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert [each["class"] for each in page.all("figure")] == ["curves", "curves"]


def test_a_run_in_which_everything_failed_still_has_a_report(tmp_path):
    run = write_run(tmp_path / "run", [failed(method="joint", category="cork")])
    said = write_report(run).read_text(encoding="utf-8")
    assert "Cells: 1, without a result: 1" in said
    assert "No cell finished" in said
    assert "No maps were kept" not in said


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    return (rng.normal(labels, 1.0).round(1)), labels


def test_an_image_roc_curve_is_scikit_learns(scored):
    scores, labels = scored
    x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
    got = read(image_curve(scores, labels), PANEL["image ROC"])
    np.testing.assert_allclose(got, np.interp(PANEL["image ROC"].grid, x, y), atol=1e-12)
    assert trapezoid(got, PANEL["image ROC"].grid) == pytest.approx(roc_auc_score(labels, scores), abs=2e-3)


def test_the_area_of_a_precision_recall_curve_is_the_average_precision(scored):
    scores, labels = scored
    panel = PANEL["image precision-recall"]
    got = read(image_curve(scores, labels), panel)
    assert got[1:].mean() == pytest.approx(average_precision_score(labels, scores), abs=5e-3)
    precision, recall, _ = precision_recall_curve(labels, scores)
    reached = [precision[recall >= r - 1e-12][-1] for r in panel.grid[1:]]
    np.testing.assert_allclose(got[1:], reached, atol=1e-12)


def test_the_area_of_the_pro_curve_is_pro():
    rng = np.random.default_rng(1)
    masks = np.zeros((3, 20, 20), bool)
    masks[:2, 3:8, 4:9] = masks[0, 12:15, 12:15] = True
    maps = np.clip(rng.uniform(0, 0.7, masks.shape) + 0.3 * masks, 0, 1).astype(np.float16)
    panel = PANEL["PRO"]
    area = trapezoid(read(pixel_curve(maps, masks), panel), panel.grid) / panel.limit
    assert area == pytest.approx(pixel_metrics(maps.astype(np.float32), masks)["pro"], abs=2e-3)


def test_there_is_no_curve_if_all_images_are_of_one_kind():
    assert image_curve(np.array([0.1, 0.2]), np.array([1, 1])) is None
    assert pixel_curve(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool)) is None


def test_curves_are_averaged_over_categories_and_a_gap_is_stated():
    panel = PANEL["image ROC"]
    mean = mean_lines([{("a", panel): np.zeros(3), ("b", panel): np.ones(3)}, {("a", panel): np.ones(3)}])
    np.testing.assert_array_equal(mean["a", panel], [0.5, 0.5, 0.5])
    assert set(mean) == {("a", panel), ("b (1 of 2 categories)", panel)}


def test_an_ablation_is_found_where_methods_differ_only_in_one_number():
    def method(name, **parameters):
        return cell(name, parameters=json.dumps({"alpha": 0.5, "seed": 3, "tta": False} | parameters))

    results = frame(
        method("K4", k=4), method("K1", k=1), method("K2", k=2),
        method("T1", k=1, tta={"steps": 1}), method("T0", k=1, tta={"steps": 0}), method("T5", k=1, tta={"steps": 5}),
        method("other", k=1, alpha=0.1),
    )  # fmt: skip
    found = {ablation.parameter: ablation.points for ablation in find_ablations(results)}
    assert found == {"k": {"K1": 1, "K2": 2, "K4": 4}, "tta.steps": {"T0": 0, "T1": 1, "T5": 5}}
    assert list(found["k"]) == ["K1", "K2", "K4"]


def test_two_points_or_a_switch_give_no_curve():
    results = frame(*(cell(str(k), parameters=json.dumps({"k": k})) for k in (1, 2)))
    assert list(find_ablations(results)) == []
    results = frame(*(cell(str(k), parameters=json.dumps({"on": bool(k), "n": 1})) for k in (0, 1)))
    assert list(find_ablations(results)) == []


def test_nested_parameters_get_dotted_names():
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "seed": 0, "f": {}}) == {"a": 1, "b.c": 2, "b.d.e": 3, "f": {}}


def picked(scores, labels):
    images = pd.DataFrame(
        {"method": "m", "image_path": list("abcdefgh")[: len(scores)], "label": labels, "score": scores}
    )
    return pick(images)


def test_the_gallery_shows_the_lowest_and_highest_anomalies_and_the_highest_normal():
    found = picked([0.9, 0.1, 0.5, 0.2, 0.7, 0.3], [1, 1, 1, 1, 0, 0])
    assert found == {"b": "missed", "d": "missed", "e": "false alarm", "a": "found", "c": "found"}


def test_no_image_is_listed_as_both_missed_and_found():
    assert picked([0.9, 0.1], [1, 1]) == {"b": "missed", "a": "found"}
    assert picked([0.9], [1]) == {"a": "found"}
    assert picked([0.9], [0]) == {"a": "false alarm"}


def test_the_mean_rank_of_several_methods_decides_for_any_scales():
    scores = {"m": [0.3, 0.1, 0.2, 0.4], "n": [20.0, 30.0, 10.0, 500.0]}
    rows = [
        {"method": method, "image_path": path, "label": 1, "score": score}
        for method, values in scores.items()
        for path, score in zip("abcd", values, strict=True)
    ]
    found = pick(pd.DataFrame(rows))
    assert found["c"] == "missed"
    assert found["d"] == "found"
    assert list(found) == ["c", "b", "d", "a"]


def test_gallery_maps_belong_to_their_images(run):
    key = run.frame["key"].iloc[0]
    kept = run.maps(key)
    kept = {name: array[::-1] for name, array in kept.items()}
    images = run.images[run.images["key"] == key]
    for example in examples(images, {"text": kept}):
        row = list(kept["image_path"]).index(example.path)
        np.testing.assert_array_equal(example.maps["text"], kept["maps"][row].astype(np.float32))
        np.testing.assert_array_equal(example.mask, kept["masks"][row])
        assert example.scores["text"] == pytest.approx(float(kept["maps"][row].max()))


def test_a_deleted_image_is_not_an_error(tmp_path):
    assert read_image(str(tmp_path / "gone.png"), (4, 6)) is None
    Image.new("RGB", (3, 3)).save(tmp_path / "there.png")
    assert read_image(str(tmp_path / "there.png"), (4, 6)).shape == (4, 6, 3)


def test_an_image_of_16_bits_is_shown_as_it_is_not_white(tmp_path):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp * 257).save(tmp_path / "deep.png")
    found = read_image(str(tmp_path / "deep.png"), (16, 16))
    np.testing.assert_array_equal(found, np.repeat(ramp[..., None], 3, axis=-1))


def pixels(address):
    kind, content = re.fullmatch(r"data:image/(.+);base64,(.+)", address).groups()
    return kind, base64.b64decode(content)


def yellow_by_row(shown):
    """Return for each example whether its maps, in the gallery's third column, reach the yellow end of the scale."""
    kind, content = pixels(plot_gallery(shown, ["text"]))
    assert kind == "webp"
    drawn = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float)
    height = int(160 * len(shown))
    top = len(drawn) - height - int(100 * SCALE_HEIGHT)
    maps = drawn[top : top + height, 2 * drawn.shape[1] // 3 :]
    # Over any grey, only the last colour of the scale leaves so much more red and green than blue.
    yellow = (maps[..., :2].min(-1) - maps[..., 2] > 130).any(1)
    return [bool(part.any()) for part in np.array_split(yellow, len(shown))]


@pytest.mark.slow
def test_each_method_has_one_scale_that_its_maps_fill_in_any_range(run):
    key = run.frame["key"].iloc[0]
    images, kept = run.images[run.images["key"] == key], run.maps(key)
    shown = examples(images, {"text": kept})
    narrow = [example._replace(maps={"text": 0.5 + example.maps["text"] / 100}) for example in shown]
    assert any(yellow_by_row(narrow))  # a scale from 0 to 1 would give all the same colour
    faint = [*shown[:-1], shown[-1]._replace(maps={"text": shown[-1].maps["text"] / 100})]
    assert not yellow_by_row(faint)[-1]  # every image has the same scale
    assert any(yellow_by_row(faint)[:-1])


def test_the_ends_of_a_scale_are_the_lowest_and_highest_values_of_the_method(run):
    key = run.frame["key"].iloc[0]
    shown = examples(run.images[run.images["key"] == key], {"text": run.maps(key)})
    doubled = [example._replace(maps=dict(example.maps) | {"far": 10 + example.maps["text"]}) for example in shown]
    maps = np.stack([example.maps["text"] for example in shown])
    found = scales(doubled, ["text", "far"])
    assert found["text"] == pytest.approx((maps.min(), maps.max()))
    assert found["far"] == pytest.approx((10 + maps.min(), 10 + maps.max()))


def test_a_method_whose_maps_are_all_uniform_is_not_an_error(run):
    key = run.frame["key"].iloc[0]
    shown = examples(run.images[run.images["key"] == key], {"text": run.maps(key)})
    even = [example._replace(maps={"text": np.full_like(example.maps["text"], 0.5)}) for example in shown]
    assert pixels(plot_gallery(even, ["text"]))[0] == "webp"


@pytest.mark.slow
def test_curves_and_ablations_are_drawn_as_svg(run):
    images = run.images[run.images["category"] == "cork"]
    lines = category_lines(images[images["seed"] == 0], {})
    address = plot_curves(lines)
    assert plot_curves(lines) == address  # the same every time
    kind, content = pixels(address)
    assert kind == "svg+xml"
    assert b"<svg" in content
    cells = [
        cell(f"K{k}", c, s, 0.1 * k, parameters=json.dumps({"k": k})) for k in (1, 2, 4) for c in "ab" for s in (0, 1)
    ]
    results = frame(*cells)
    (ablation,) = find_ablations(results)
    assert b"<svg" in pixels(plot_ablation(ablation, summarise(results, "Demo")))[1]
