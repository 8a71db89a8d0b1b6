"""The gallery in a real browser: keys, filters, the slider and marks, and that hostile names never run as code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.predict import Failure, Threshold
from dualclip_lightning.predict.output.gallery import write_gallery
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import Layout
from tests.towers import write_image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="Chromium or Chrome is not installed, and the gallery needs one."),
]
EVIL = "<img src=x onerror=document.title=1>.png"
NAMES = ["cell1.png", "cell2.png", "cell10.png", EVIL, "bad_\udcff.png", "two\nlines.png", "alone.png"]
TOOLS = """
const press = (key) => (document.activeElement ?? document.body).dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const all = (selector) => [...document.querySelectorAll(selector)];
const names = () => all("#cards .name").map((name) => name.textContent);
const chosen = () => document.activeElement.querySelector(".name")?.textContent;
const filter = (name) => document.querySelector(`[data-show="${name}"]`).click();
const set = (input, value) => {
  input.value = value;
  for (const event of ["input", "change"]) input.dispatchEvent(new Event(event));
};
const report = (value) => console.log(`reported:${encodeURIComponent(JSON.stringify(value))}`);
const { text, slider, sort, preview } = Object.fromEntries(all("[id]").map((element) => [element.id, element]));
"""
"""Helpers for scripts that act as the user in a copy of the page."""


def entry(name: str, stamp: tuple[int, int], score: float, references: tuple[str, ...] = ()) -> Entry:
    return Entry(name, stamp, score, 0.9, (40, 56), references, "keep: 56x40", 0.1, ())


@pytest.fixture
def gallery(tmp_path):
    """Page with seven images, one of them without a reference, and a failure."""
    for i, name in enumerate(NAMES):
        write_image(tmp_path / "shots" / name, seed=i)
        write_image(tmp_path / "out" / "heatmaps" / name, seed=i)
    paths = [str(tmp_path / "shots" / name) for name in NAMES]
    entries = [entry(path, (i, 2**60 + i), 0.1 * (i + 1), () if "alone" in path else (paths[0],))
               for i, path in enumerate(paths)]  # fmt: skip
    page = tmp_path / "out" / "index.html"
    write_gallery(
        page, entries, [Failure(str(tmp_path / "shots" / "broken.png"), "the file is empty.")],
        Layout(tmp_path / "out", paths, "png"), Threshold(0.45, compared=True), {}, 100,
        "dualclip predict shots --from out",
    )  # fmt: skip
    return page


@pytest.fixture
def play(tmp_path):
    """Run a script that acts as the user in a copy of a page, and return what it reports."""

    def play(page: Path, script: str):
        return json.loads(unquote(console(played(page, script), tmp_path, r"reported:([^\"]*)\"")))

    return play


def played(page: Path, script: str) -> Path:
    """Write a copy of a page with a script that acts as the user, and return its path."""
    code = f"{TOOLS}{script}"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    copy = page.with_name(f"played_{page.name}")
    # The script follows the page's own. The page's content security policy allows it only with its digest.
    text = page.read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ")
    copy.write_text(text.replace("</body>", f'<script type="module">{code}</script></body>'), encoding="utf-8")
    return copy


def console(page: Path, folder: Path, pattern: str) -> str:
    """Return the group of a pattern in the first matching line of a page's console; uncaught errors fail the test."""
    options = ["--remote-debugging-port=0", "--enable-logging=stderr"]  # a port keeps the page open
    with subprocess.Popen([*command(folder), *options, page.as_uri()], stderr=subprocess.PIPE) as browser:
        lines = (line.decode() for line in browser.stderr)
        try:
            line = next(line for line in lines if "CONSOLE" in line and re.search(f"{pattern}|Uncaught", line))
        finally:
            browser.kill()
    found = re.search(pattern, line)
    assert found, line
    return found[1]


def browse(page: Path, folder: Path, *options: str) -> str:
    """Return the document of a page as it is after everything has loaded and all scripts have run."""
    dump = [*command(folder), *options, "--dump-dom", page.as_uri()]
    return subprocess.run(dump, capture_output=True, check=True, timeout=300).stdout.decode()


def command(folder: Path) -> list[str]:
    return [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]


def test_images_are_filtered_by_decision_and_name_and_sorted(gallery, play):
    found = play(gallery, """
      const seen = { all: names() };
      for (const name of ["anomalous", "normal", "no decision", "failed"]) { filter(name); seen[name] = names(); }
      filter("all");
      set(sort, "name"); seen.byName = names();
      set(sort, "lowest"); seen.lowest = names();
      set(text, "CELL1"); seen.typed = names();
      seen.counts = all("[data-show]").map((button) => button.textContent);
      report(seen);""")  # fmt: skip
    shown = [name.replace("\udcff", "\\udcff") for name in NAMES]
    assert found["all"] == [*shown[::-1], "broken.png"]
    assert found["anomalous"] == ["two\nlines.png", "bad_\\udcff.png"]
    assert found["normal"] == [EVIL, "cell10.png", "cell2.png", "cell1.png"]
    assert found["no decision"] == ["alone.png"]
    assert found["failed"] == ["broken.png"]
    assert [name for name in found["byName"] if "cell" in name] == ["cell1.png", "cell2.png", "cell10.png"]
    assert found["lowest"] == [*shown, "broken.png"]
    assert found["typed"] == ["cell1.png", "cell10.png"]
    assert found["counts"] == ["all (8)", "anomalous (2)", "normal (4)", "no decision (1)", "failed (1)",
                               "marked good (0)", "marked bad (0)"]  # fmt: skip


def test_the_slider_recounts_as_the_command_would_and_shows_that_command(gallery, play, tmp_path):
    found = play(gallery, """
      const before = preview.textContent;
      set(slider, 0.25);
      filter("anomalous");
      const at = { text: preview.textContent, names: names(),
        words: all("#cards .word").map((word) => word.textContent),
        bars: all("rect.anomalous").length, lines: all("#histogram line").length };
      document.getElementById("reset").click();
      report({ before, at, after: names() });""")  # fmt: skip
    assert found["before"].startswith("The line is the threshold, 0.4500.")
    decided = Threshold(0.25)
    entries = [entry("", (0, 0), 0.1 * (i + 1)) for i in range(7)]
    anomalous = [e for e in entries if decided.decide(e).word == "anomalous"]
    assert len(found["at"]["names"]) == len(anomalous) == 5
    assert set(found["at"]["words"]) == {"anomalous"}
    assert (found["at"]["bars"], found["at"]["lines"]) == (5, 2)
    assert found["at"]["text"].startswith("5 anomalous, 2 normal at 0.2500. This is a preview")
    assert "dualclip predict shots --from out --threshold 0.2500" in found["at"]["text"]
    assert "also those without references" in found["at"]["text"]
    assert found["after"] == ["two\nlines.png", "bad_\\udcff.png"]


def test_keys_select_enlarge_and_mark(gallery, play):
    found = play(gallery, """
      const seen = [];
      press("ArrowRight"); seen.push(chosen());
      press("ArrowRight"); seen.push(chosen());
      press("g"); press("ArrowLeft"); seen.push(chosen()); press("b");
      press("Enter");
      const large = document.getElementById("large");
      seen.push(large.open, large.querySelector(".name").textContent);
      seen.push(large.querySelector("[data-mark=bad]").ariaPressed);
      press("ArrowRight"); press("ArrowRight"); press("g");
      seen.push(large.querySelector(".name").textContent);
      large.close();
      press("?"); seen.push(document.getElementById("help").open); document.getElementById("help").close();
      press("/"); seen.push(document.activeElement.id); press("g"); press("Escape");
      filter("good"); seen.push(names());
      filter("bad"); seen.push(names());
      press("ArrowDown"); press("b"); filter("bad"); seen.push(names());
      report(seen);""")  # fmt: skip
    assert found == [
        "alone.png", "two\nlines.png", "alone.png", True, "alone.png", "true", "bad_\\udcff.png", True, "text",
        ["two\nlines.png", "bad_\\udcff.png"], ["alone.png"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(("changed", "good"), [(0, ["alone.png"]), (1, [])])
def test_marks_stay_for_the_next_visit_until_the_image_changes(gallery, play, changed, good):
    page, state = gallery.read_text(encoding="utf-8"), f"6-{2**60 + 6}"
    assert page.count(state) == 1
    later = gallery.with_name("later.html")
    later.write_text(page.replace(state, f"6-{2**60 + 6 + changed}"), encoding="utf-8")
    later = played(later, 'filter("good"); const good = names(); filter("bad"); report([good, names()]);')
    marking = 'press("ArrowRight"); press("g"); press("ArrowRight"); press("b");'
    # One browser, since it stores marks on the disk only after a while.
    assert play(gallery, f'{marking} location.href = "{later.name}";') == [good, ["two\nlines.png"]]


def test_the_command_reads_a_saved_list_with_any_names(gallery, play, tmp_path):
    found = play(gallery, """
      let saved = [], file = "";
      window.Blob = class { constructor(parts) { saved = parts; } };
      URL.createObjectURL = () => "#";
      HTMLAnchorElement.prototype.click = function () { file = this.download; };
      for (const _ of all("#cards figure")) { press("ArrowRight"); press("g"); }
      const encoder = new TextEncoder();
      document.querySelector("[data-save=good]").click();
      const bytes = saved.flatMap((part) => [...(typeof part === "string" ? encoder.encode(part) : part)]);
      report({ bytes, file, said: document.getElementById("saved").textContent });""")  # fmt: skip
    listed = tmp_path / "elsewhere" / found["file"]
    listed.parent.mkdir()
    listed.write_bytes(bytes(found["bytes"]))
    expected = {tmp_path / "shots" / name for name in NAMES if "\n" not in name}
    assert listed.name == "good.txt"
    assert set(find_images([listed]).paths) == expected
    assert all(path.is_file() for path in expected)
    assert found["said"] == "good.txt has 6 paths. 1 marked images are not in it, because their names have line breaks."


def test_hostile_names_are_text_and_pictures_are_files_beside_the_page(gallery, play, tmp_path):
    found = play(gallery, """
      const pictures = all("#cards img");
      for (const picture of pictures) picture.loading = "eager";
      await Promise.all(pictures.map((picture) => picture.decode()));
      const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
      const links = all("#cards a").map((link) => link.href);
      const wide = pictures.map((picture) => picture.naturalWidth);
      report({ title: document.title, wide, loaded, links });
    """)  # fmt: skip
    assert found["title"] == "7 images by anomaly score"
    assert found["wide"] == [56] * len(NAMES)
    assert all(address.startswith((tmp_path / "out").as_uri()) for address in found["loaded"])
    assert all(address.startswith(tmp_path.as_uri()) for address in found["links"])
    assert EVIL.replace("<", "&lt;").replace(">", "&gt;") in browse(gallery, tmp_path)


def test_many_images_are_shown_in_pages_which_arrow_keys_turn(tmp_path, play):
    entries = [entry(f"/shots/{i:03}.png", (i, i), i / 200) for i in range(150)]
    page = tmp_path / "out" / "index.html"
    page.parent.mkdir()
    write_gallery(page, entries, [], Layout(tmp_path / "out", [e.name for e in entries]), None, {}, 100)
    found = play(page, """
      const where = document.getElementById("where"), seen = [where.textContent, names().length];
      document.getElementById("next").click();
      seen.push(where.textContent, names().length, chosen());
      press("ArrowLeft");
      seen.push(where.textContent, chosen());
      report(seen);""")  # fmt: skip
    assert found == ["1 to 60 of 100", 60, "61 to 100 of 100", 40, "089.png", "1 to 60 of 100", "090.png"]


def test_an_empty_run_has_a_page_that_states_it(tmp_path, play):
    page = tmp_path / "index.html"
    write_gallery(page, [], [], Layout(tmp_path, []), None, {}, 100)
    found = play(page, "report(all('#empty, #scores, #marks').map((part) => part.hidden));")
    assert sorted(found) == [False, True, True]


def test_regions_are_outlined_in_an_image_without_a_heatmap_and_listed_in_its_details(tmp_path, play):
    path = str(tmp_path / "shots" / "a.png")
    write_image(tmp_path / "shots" / "a.png", seed=0)  # 56 wide, 40 high
    corners = [7, 10, 7, 30, 21, 30, 21, 10]
    region = {"box": [7, 10, 14, 20], "area": 280, "peak": 0.875}
    found = {}
    for polygon in ({"polygon": corners}, {}):  # with a heatmap there is none, because the outline is part of it
        page = tmp_path / "out" / "index.html"
        write_gallery(page, [entry(path, (0, 1), 0.9)], [], Layout(tmp_path / "out", [path]), Threshold(0.5), {}, 100,
                      regions={path: [region | polygon] * 7})  # fmt: skip
        found[bool(polygon)] = play(page, """
          const [picture] = all("#cards img");
          await picture.decode();
          const within = (box) => {
            const frame = picture.getBoundingClientRect();
            return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height,
                    box.width / frame.width, box.height / frame.height];
          };
          const large = () => {
            const [shown] = all("#large svg");
            return shown && shown.getBoundingClientRect().height / all("#large img")[0].getBoundingClientRect().height;
          };
          press("ArrowRight"); press("Enter");
          report({ boxes: all("#cards polygon").map((each) => within(each.getBoundingClientRect())), large: large(),
                   lines: all("#cards details div").map((line) => line.textContent) });
        """)  # fmt: skip
    boxes = found[True]["boxes"]
    assert len(boxes) == 14  # each outline is a light line on a dark one
    for box in boxes:
        assert box == pytest.approx([7 / 56, 10 / 40, 14 / 56, 20 / 40], abs=0.01)
    assert found[True]["large"] == pytest.approx(1, abs=0.01)
    assert found[False]["boxes"] == []
    for each in found.values():
        assert each["lines"].count("region of 14x20 at (7, 10): 280 pixels, peak 0.8750") == 5
        assert "and 2 more regions, in predictions.jsonl" in each["lines"]
