"""The contents of the page; `tests/integration/test_gallery.py` tests its behaviour in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from dualclip_lightning.predict import Failure, Threshold
from dualclip_lightning.predict.output.gallery import write_gallery
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import Layout

EVIL = ["<script>alert(1)</script>.png", '"><img src=x onerror=alert(1)>.png', "{{ 7 * 7 }}&amp;.png", "bad_\udcff.png",
        "</script><script>alert(1)<!--.png", "a?b#c%20d.png"]  # fmt: skip


class Page(HTMLParser):
    """Parser that collects tags with attributes, the text outside scripts and styles, and the contents of those."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.size = len(html)
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem:
            self.raw[self.cdata_elem].append(data)
        else:
            self.text += data

    @property
    def content(self):
        return json.loads(self.raw["script"][0])


def entry(name: str, score: float, references: tuple[str, ...] = ()) -> Entry:
    return Entry(name, (1, 2), score, 0.9, (40, 56), references, "squash: 48x48", 0.1, ("alpha dropped",))


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "out", [str(tmp_path / "shots" / "a.png")])


@pytest.fixture
def write(tmp_path, layout):
    def write(entries, failures=(), threshold=None, facts=None, most=200, heatmaps=True):
        for e in entries if heatmaps else ():
            path = layout.path("heatmaps", e.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10), (10, 200, 30)).save(path)
        page = tmp_path / "out" / "index.html"
        page.parent.mkdir(exist_ok=True)
        write_gallery(page, entries, failures, layout, threshold, facts or {}, most, "dualclip predict shots")
        return Page(page.read_text(encoding="utf-8"))

    return write


@pytest.fixture
def name(tmp_path):
    return lambda short: str(tmp_path / "shots" / short)


def test_images_are_sorted_by_score_and_have_all_their_details(write, name):
    entries = [entry(name("a.png"), 0.2), entry(name("b.png"), 0.9, (name("a.png"),)), entry(name("c.png"), 0.4)]
    page = write(entries, threshold=Threshold(0.5), facts={"class name": "steel plate"})
    images = page.content["images"]
    assert [(i["score"], i["word"], i["name"]) for i in images] == [
        (0.9, "anomalous", "b.png"), (0.4, "normal", "c.png"), (0.2, "normal", "a.png"),
    ]  # fmt: skip
    assert [[page.content["references"][n] for n in i["references"]] for i in images] == [["a.png"], [], []]
    assert {i["size"] for i in images} == {"56x40"}
    assert images[0]["notes"] == ["alpha dropped"]
    assert (page.content["threshold"], page.content["again"]) == (0.5, "dualclip predict shots")
    assert "1 of 3 anomalous" in page.text
    assert "steel plate" in page.text


def test_an_image_that_the_threshold_does_not_judge_has_no_decision_and_the_reason(write, name):
    decides_pairs = Threshold(0.5, kind="good", compared=True, scores=(0.3, 0.5))
    images = write([entry(name("a.png"), 0.9), entry(name("b.png"), 0.8, (name("a.png"),))], threshold=decides_pairs)
    (alone, compared) = images.content["images"]
    assert (alone["word"], alone["p"]) == ("", None)
    assert alone["reason"].startswith("no decision: the image was compared with no other")
    assert (compared["word"], compared["p"]) == ("anomalous", pytest.approx(1 / 3))


@pytest.mark.parametrize("evil", EVIL)
def test_names_and_reasons_are_shown_completely_and_add_no_element(write, name, evil, tmp_path):
    plain = write([entry(name("a.png"), 0.5)], [Failure(name("b.png"), "broken")], facts={"class name": "plate"})
    evil_path = name(evil)  # the slash makes it a path in a subfolder
    page = write([entry(evil_path, 0.5, (evil_path,))], [Failure(evil_path, evil)], facts={"class name": evil})
    shown = evil.encode("utf-8", "backslashreplace").decode()
    (image,), (failed,), (reference,) = (page.content[key] for key in ("images", "failed", "references"))
    assert [image["name"], reference, failed["reason"]] == [shown] * 3
    assert shown in page.text
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    home = os.fsencode(tmp_path / "out")
    assert os.path.normpath(home + b"/" + unquote_to_bytes(image["image"])) == os.fsencode(os.path.normpath(evil_path))
    assert (tmp_path / "out" / os.fsdecode(unquote_to_bytes(image["heatmap"]))).is_file()


def test_the_page_needs_no_network_and_runs_only_its_own_script(write, name):
    page = write([entry(name(f"{i}.png"), i / 10) for i in range(5)], threshold=Threshold(0.2))
    assert not [a for _, a in page.tags if a.keys() & {"src", "href", "srcset", "data", "action", "style", "onclick"}]
    assert not {"link", "iframe", "object", "img"} & {tag for tag, _ in page.tags}
    (style,), (data, script) = page.raw["style"], page.raw["script"]
    assert not re.search(r"url\(|@import|https?:|fetch\(|import\(|innerHTML", (style + script).replace(
        "http://www.w3.org/2000/svg", ""))  # fmt: skip
    assert "http" not in data
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
    )


def test_pictures_are_the_heatmaps_next_to_the_page_and_the_original_image_files(write, name):
    (image,) = write([entry(name("below/a b.png"), 0.5)]).content["images"]
    assert (image["heatmap"], image["image"]) == ("heatmaps/below/a%20b.jpg", "../shots/below/a%20b.png")


def test_the_number_of_images_is_limited_and_the_page_states_it(write, name):
    page = write([entry(name(f"{i}.png"), i / 10) for i in range(5)], most=2)
    assert [image["name"] for image in page.content["images"]] == ["4.png", "3.png"]
    assert "The 2 highest are on this page, and it counts only these; all are in scores.csv." in page.text


@pytest.mark.slow
def test_ten_thousand_images_with_many_references_make_a_small_page(write, name):
    references = tuple(name(f"reference/{i}.png") for i in range(20))
    entries = [entry(name(f"{i}.png"), i / 10_000, references) for i in range(10_000)]
    page = write(entries, threshold=Threshold(0.5), most=10_000, heatmaps=False)
    assert len(page.content["images"]) == 10_000
    assert page.size < 8_000_000


def test_without_heatmaps_images_or_threshold_there_is_still_a_page(write, name):
    page = write([entry(name("a.png"), 0.5)], heatmaps=False)
    assert "No threshold: scores without decisions." in page.text
    assert (page.content["images"][0]["heatmap"], page.content["threshold"]) == (None, None)
    assert "0 images by anomaly score" in write([]).text


def test_references_from_elsewhere_have_their_own_path(write, name):
    assert write([entry(name("a.png"), 0.5, (name("r0.png"), "/elsewhere/r1.png"))]).content["references"] == [
        "r0.png", "/elsewhere/r1.png",
    ]  # fmt: skip


def test_failures_are_listed_with_their_reasons(write, name):
    page = write([entry(name("a.png"), 0.5)], [Failure(name("bad.png"), "the file is empty (0 bytes).")])
    (failed,) = page.content["failed"]
    assert (failed["name"], failed["reason"], failed["word"]) == ("bad.png", "the file is empty (0 bytes).", "failed")
    assert "1 could not be used" in page.text
