from __future__ import annotations

import os
from pathlib import Path

import pytest

from dualclip_lightning.images.listing import find_images
from dualclip_lightning.record import write_record


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
    assert len(find_images([folder]).paths) == 4


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
