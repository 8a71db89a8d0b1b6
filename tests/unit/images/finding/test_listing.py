from __future__ import annotations

import codecs
import os
from glob import glob
from pathlib import Path

import pytest

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.utilities.record import mark_results, write_record


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "deep/er/c.tiff", "deep/c_label.png", "notes.md", ".hidden.png", ".cache/d.png"):
        path = tmp_path / "shots" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "shots"


def below(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_searched_with_everything_below_and_sorted(folder):
    listing = find_images([folder])
    assert below(folder, listing.paths) == ["a.JPG", "b.png", "deep/c_label.png", "deep/er/c.tiff"]
    assert listing.others == 1


def test_patterns_leave_files_out(folder):
    assert below(folder, find_images([folder], ["*_label.png", "*.tiff"]).paths) == ["a.JPG", "b.png"]


def test_results_of_a_run_inside_the_images_are_not_images(folder):
    (folder / "deep" / "run.json").write_text('{"format": "of somebody else"}')
    assert "deep/er/c.tiff" in below(folder, find_images([folder]).paths)
    write_record(folder / "deep", {})
    assert below(folder, find_images([folder]).paths) == ["a.JPG", "b.png"]
    assert below(folder, find_images([f"{folder}/**/*.png"]).paths) == ["b.png"]
    assert below(folder, find_images([folder / "deep" / "er" / "c.tiff"]).paths) == ["deep/er/c.tiff"]


def test_patterns_with_stars_reach_below(folder):
    assert below(folder, find_images([f"{folder}/**/*.png"]).paths) == ["b.png", "deep/c_label.png"]


def test_a_name_that_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "a[1].png").touch()
    (tmp_path / "a1.png").touch()
    assert find_images([tmp_path / "a[1].png"]).paths == [tmp_path / "a[1].png"]


def test_a_list_holds_paths_relative_to_itself(folder):
    (folder / "list.txt").write_text("# a comment\nb.png\r\n\n deep/odd name .png\n/elsewhere/x.png\n")
    paths = find_images([folder / "list.txt"]).paths
    assert paths == [folder / "b.png", folder / " deep/odd name .png", Path("/elsewhere/x.png")]


def test_several_targets_keep_their_order_and_give_each_file_once(folder):
    assert below(folder, find_images([folder / "b.png", folder / "notes.md", folder / "b.png"]).paths) == [
        "b.png",
        "notes.md",
    ]


def test_a_loop_of_links_ends(folder):
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "deep" / "again").symlink_to(folder / "deep")
    for target, count in ((folder, 4), (folder / "deep" / "loop", 4), (f"{folder}/**/*.*", 5), (f"{folder}/**", 5)):
        assert len(find_images([target]).paths) == count


def test_links_to_folders_are_followed_once(folder, tmp_path):
    (tmp_path / "elsewhere" / "x").mkdir(parents=True)
    for name in ("d.png", "x/e.png"):
        (tmp_path / "elsewhere" / name).touch()
    for name in ("link", "other link"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    names = ["a.JPG", "b.png", "deep/c_label.png", "deep/er/c.tiff", "link/d.png", "link/x/e.png"]
    assert below(folder, find_images([folder]).paths) == names
    assert below(folder, find_images([f"{folder}/**/*.png"]).paths) == [name for name in names if name.endswith("png")]


def test_a_folder_keeps_its_own_name_where_a_link_leads_to_it(folder):
    (folder / "a link").symlink_to(folder / "deep")
    assert "deep/c_label.png" in below(folder, find_images([folder]).paths)
    assert below(folder, find_images([folder / "a link"]).paths) == ["a link/c_label.png", "a link/er/c.tiff"]


def test_a_folder_of_links_is_a_folder_of_images(folder, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "file.png").symlink_to(folder / "b.png")
    (links / "folder").symlink_to(folder / "deep")
    (links / "gone").symlink_to(tmp_path / "gone")
    assert below(links, find_images([links]).paths) == ["file.png", "folder/c_label.png", "folder/er/c.tiff"]


def test_two_stars_give_what_globs_own_give(folder):
    patterns = ["**/*.png", "**", "**/er/*", "d*/**/*.tiff", "**/d*p", "*/**", "deep/**/er", "**/nothing"]
    for pattern in patterns:
        expected = set()
        for name in map(Path, glob(str(folder / pattern), recursive=True)):  # noqa: PTH207 - follows links
            inside = [name] if name.is_file() else [p for p in name.rglob("*") if p.suffix in {".png", ".JPG", ".tiff"}]
            expected |= {path for path in inside if not any(part.startswith(".") for part in path.parts)}
        if expected:
            assert set(find_images([folder / pattern]).paths) == expected
        else:
            with pytest.raises(FileNotFoundError):
                find_images([folder / pattern])


def test_results_are_named_in_a_sentence_and_reached_by_no_link(folder, tmp_path):
    write_record(tmp_path / "results", {})
    (tmp_path / "results" / "heatmaps").mkdir()
    (tmp_path / "results" / "heatmaps" / "a.png").touch()
    (folder / "link").symlink_to(tmp_path / "results" / "heatmaps")
    found = find_images([folder])
    assert len(found.paths) == 4
    assert str(tmp_path / "results") in (found.left_out or "")
    for target in (folder / "link", tmp_path / "results", f"{tmp_path}/results/heatmaps/*.png"):
        with pytest.raises(FileNotFoundError, match=r"No image.*earlier runs.*results'"):
            find_images([target])
    assert find_images([folder / "deep"]).left_out is None


def test_output_of_other_commands_is_left_out_and_nothing_next_to_it(folder):
    mark_results(folder, ["deep", "heatmaps.png"])
    (folder / "heatmaps.png").touch()
    for target in (folder, f"{folder}/**", f"{folder}/*"):
        found = find_images([target])
        assert "deep" in (found.left_out or "")
        assert {path.name for path in found.paths} - {"notes.md"} == {"a.JPG", "b.png"}
    mark_results(folder, ["b.png"])
    assert below(folder, find_images([folder]).paths) == ["a.JPG"]


NAMES = "# a comment\r\nb.png\r\ndeep/Ünïcödé 測試.png\r\n"


@pytest.mark.parametrize(
    "content",
    [
        NAMES.encode(),
        codecs.BOM_UTF8 + NAMES.encode(),
        codecs.BOM_UTF16_LE + NAMES.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + NAMES.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + NAMES.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + NAMES.encode("utf-32-be"),
    ],
    ids=["plain", "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"],
)
def test_a_list_is_read_by_its_byte_order_mark(folder, content):
    (folder / "list.txt").write_bytes(content)
    assert below(folder, find_images([folder / "list.txt"]).paths) == ["b.png", "deep/Ünïcödé 測試.png"]


@pytest.mark.parametrize("content", [NAMES.encode("utf-16-le"), codecs.BOM_UTF16_LE + NAMES.encode("utf-16-le")[:-1]])
def test_a_list_of_unknown_encoding_names_the_remedy(folder, content):
    (folder / "list.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"list\.txt.*Save it as UTF-8"):
        find_images([folder / "list.txt"])


def test_a_list_may_hold_bytes_that_are_no_utf_8(folder):
    (folder / "list.txt").write_bytes(b"caf\xe9.png\n")
    assert os.fsencode(find_images([folder / "list.txt"]).paths[0]).endswith(b"caf\xe9.png")


@pytest.mark.parametrize("target", ["nowhere", "nowhere/*.png", "empty"])
def test_nothing_found_is_an_error_that_says_what_is_expected(target, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="Expected a file, a folder, a pattern"):
        find_images([tmp_path / target])


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    real = os.scandir

    def deny(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", deny)
    listing = find_images([folder])
    assert below(folder, listing.paths) == ["a.JPG", "b.png"]
    assert list(listing.unreadable) == [str(folder / "deep")]
