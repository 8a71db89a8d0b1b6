from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dualclip_lightning.predict import Prediction
from dualclip_lightning.predict.output.folders import WORK, Place, choose_place, make_request
from dualclip_lightning.predict.output.journal import Journal, file_stamp
from dualclip_lightning.utilities.record import read_record, write_record

SETTINGS = {"alpha": 0.5, "size": (1, 2)}


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results" / "predict"


def ask(paths, settings=None, **options):
    return make_request({"out": Path("x"), **options}, SETTINGS if settings is None else settings, paths)


def work(place: Place, request, scored=(), *, finished: bool) -> None:
    """Write what a run leaves in its folder."""
    record = {"options": request.options, "digest": request.digest, "finished": "now" if finished else None}
    write_record(place.folder, record)
    with Journal(place.folder / WORK / "images", request.settings) as journal:
        for path in scored:
            map_ = np.zeros((1, 1), np.float32)
            journal.add(Prediction(str(path), 0.5, map_, (1, 1)), file_stamp(path))


def test_runs_are_numbered_and_no_other_folder_is_used(out, images):
    (out.parent / "predict4").mkdir(parents=True)
    (out.parent / "predicted").mkdir()
    (out.parent / "predict03").mkdir()
    assert choose_place(out, ask(images)).folder == out.with_name("predict5")
    assert choose_place(out.with_name("day7"), ask(images)).folder == out.with_name("day7")
    assert choose_place(out.with_name("day7"), ask(images)).folder == out.with_name("day7")  # still empty
    (out.with_name("day7") / "mine.txt").touch()
    assert choose_place(out.with_name("day7"), ask(images)).folder == out.with_name("day7-2")


def test_a_number_that_another_run_takes_in_the_meantime_is_skipped(out, images, monkeypatch):
    real = Path.mkdir

    def mkdir(path, *arguments, **options):
        if path == out:
            real(path, *arguments, **options)
        real(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert choose_place(out, ask(images)).folder == out.with_name("predict2")


@pytest.mark.parametrize("finished", [True, False])
def test_the_same_request_continues_its_run(out, images, finished):
    request = ask(images)
    first = choose_place(out, request)
    work(first, request, images[:2], finished=finished)
    other = choose_place(out, ask(images, maps=True))
    work(other, ask(images, maps=True), finished=False)
    assert choose_place(out, ask(images)) == Place(out, None)
    assert choose_place(out, ask(images), fresh=True) == Place(out.with_name("predict3"), None)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("change", ["option", "setting", "image changed", "image gone", "no run", "foreign"])
def test_another_request_gets_a_new_folder(out, images, change, finished):
    request = ask(images)
    work(choose_place(out, request), request, images[:2], finished=finished)
    paths = images
    if change == "image changed":
        images[0].write_bytes(b"something else")
    elif change == "image gone":
        paths = images[1:]
    elif change == "no run":
        (out / "run.json").unlink()
    elif change == "foreign":
        (out / "run.json").write_text('{"finished": null}')
    asked = ask(paths, {"alpha": 1} if change == "setting" else None, **({"maps": True} if change == "option" else {}))
    place = choose_place(out, asked)
    assert place.folder == out.with_name("predict2")
    takes_over = {"option", "image changed"}
    assert place.former == (out if change in takes_over else None)


def test_with_another_image_an_unfinished_run_continues_and_a_finished_one_is_reused(out, images):
    request = ask(images[:2])
    place = choose_place(out, request)
    work(place, request, images[:1], finished=False)
    assert choose_place(out, ask(images)) == Place(out, None)
    work(place, request, finished=True)
    assert choose_place(out, ask(images)) == Place(out.with_name("predict2"), out)


def test_scores_and_maps_of_unchanged_images_are_reused(tmp_path, images):
    request = ask(images)
    folders = [tmp_path / name / WORK / "images" for name in ("one", "two", "three")]
    (tmp_path / "one").mkdir()
    work(Place(tmp_path / "one", None), request, images, finished=True)
    images[0].write_bytes(b"something else")
    with Journal(folders[1], SETTINGS) as journal:
        journal.adopt(folders[0])
        assert set(journal.entries) == {str(path) for path in images[1:]}
        assert all(journal.knows(str(path), file_stamp(path)) for path in images[1:])
    with Journal(folders[2], {"alpha": 1}) as journal:
        journal.adopt(folders[0])
        assert journal.entries == {}


@pytest.mark.parametrize("name", [".", "..", "a/.."])
def test_a_folder_without_a_name_of_its_own_is_refused(name, images):
    with pytest.raises(ValueError, match="Expected --out to name a folder"):
        choose_place(Path(name), ask(images))


def test_a_folder_that_cannot_be_created_is_an_os_error(tmp_path, images):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        choose_place(tmp_path / "file" / "out", ask(images))


def test_only_our_record_makes_a_folder_that_of_a_run(tmp_path):
    assert read_record(tmp_path) is None
    for content in (b"", b"[]", b"{}", b"\xff", b'{"format": "other"}'):
        (tmp_path / "run.json").write_bytes(content)
        assert read_record(tmp_path) is None
    write_record(tmp_path, {"command": os.fsdecode(b"\xff")})
    assert read_record(tmp_path)["command"] == "\udcff"
