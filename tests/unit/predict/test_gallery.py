from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from dualclip_lightning.predict import Failure, Threshold
from dualclip_lightning.predict.gallery import TALLEST, WIDEST, write_gallery
from dualclip_lightning.predict.journal import Entry
from dualclip_lightning.predict.outputs import Layout

EVIL = ["<script>alert(1)</script>.png", '"><img src=x onerror=alert(1)>.png', "{{ 7 * 7 }}&amp;.png", "bad_\udcff.png"]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def entry(name: str, score: float, references: tuple[str, ...] = ()) -> Entry:
    return Entry(name, (1, 2), score, 0.9, (40, 56), references, "squash: 48x48", 0.1, ("alpha dropped",))


@pytest.fixture
def write(tmp_path):
    def write(entries, failures=(), threshold=None, facts=None, most=200, heatmaps=True):
        layout = Layout(tmp_path / "out", [str(tmp_path / "shots" / "a.png")])
        if heatmaps:
            for e in entries:
                path = layout.path("heatmaps", e.name, ".png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (2000, 1000), (10, 200, 30)).save(path)
        page = tmp_path / "out" / "index.html"
        write_gallery(page, entries, failures, layout, threshold, facts or {}, most)
        return Page(page.read_text(encoding="utf-8"))

    return write


@pytest.fixture
def name(tmp_path):
    return lambda short: str(tmp_path / "shots" / short)


def test_images_come_by_score_with_name_decision_and_reference(write, name):
    entries = [entry(name("a.png"), 0.2), entry(name("b.png"), 0.9, (name("a.png"),)), entry(name("c.png"), 0.4)]
    page = write(entries, threshold=Threshold(0.5), facts={"class name": "steel plate"})
    assert re.findall(r"0\.\d{4}\s+(\w*)\s+(\w\.png)", page.text) == [
        ("anomalous", "b.png"), ("normal", "c.png"), ("normal", "a.png"),
    ]  # fmt: skip
    assert "1 of 3 anomalous" in page.text
    assert "compared with a.png" in page.text
    assert "no reference: text score only" in page.text
    assert "56 x 40 pixels" in page.text
    assert "steel plate" in page.text


@pytest.mark.parametrize("evil", EVIL)
def test_names_and_reasons_are_shown_and_never_run(write, name, evil):
    page = write([entry(name(evil), 0.5)], [Failure(name(evil), evil)], facts={"class name": evil})
    shown = evil.encode("utf-8", "backslashreplace").decode()
    assert page.text.count(shown) >= 3
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 1


def test_the_page_needs_nothing_but_itself(write, name):
    page = write([entry(name(f"{i}.png"), i / 10) for i in range(5)], threshold=Threshold(0.2))
    addresses = [a[key] for _, a in page.tags for key in ("src", "href", "srcset", "data", "action") if key in a]
    assert len(addresses) == 5
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert not {"link", "script", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\(|@import|https?:", page.text)


def test_pictures_are_whole_and_small(write, name):
    page = write([entry(name("a.png"), 0.5)])
    address = next(a["src"] for tag, a in page.tags if tag == "img")
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    picture.load()
    assert picture.width <= WIDEST
    assert picture.height <= TALLEST
    assert picture.width / picture.height == pytest.approx(2, rel=0.01)


def test_only_so_many_are_shown_and_the_page_says_so(write, name):
    page = write([entry(name(f"{i}.png"), i / 10) for i in range(5)], most=2)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2
    assert "The 2 highest are shown; all are in scores.csv." in page.text


def test_without_heatmaps_images_or_threshold_there_is_still_a_page(write, name):
    assert "No threshold: scores without decisions." in write([entry(name("a.png"), 0.5)], heatmaps=False).text
    assert "0 images by anomaly score" in write([]).text


def test_many_references_are_folded_away_and_those_from_elsewhere_have_their_own_path(write, name):
    references = (name("r0.png"), "/elsewhere/r1.png", *(name(f"r{i}.png") for i in range(2, 5)))
    page = write([entry(name("a.png"), 0.5, references)])
    assert "compared with 5 images" in page.text
    assert "r0.png, /elsewhere/r1.png, r2.png, r3.png, r4.png" in page.text
    assert [tag for tag, _ in page.tags].count("details") == 2


def test_failures_stand_at_the_end_with_their_reasons(write, name):
    page = write([entry(name("a.png"), 0.5)], [Failure(name("bad.png"), "the file is empty (0 bytes).")])
    assert page.text.index("a.png") < page.text.index("the file is empty (0 bytes).")
    assert "1 could not be used" in page.text
