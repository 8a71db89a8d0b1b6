from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from dualclip_lightning.utilities.files import write_bytes_atomically


def test_writes_the_content_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    write_bytes_atomically(path, b"one")
    write_bytes_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_has_the_rights_that_open_would_give(tmp_path):
    write_bytes_atomically(tmp_path / "atomic", b"")
    (tmp_path / "plain").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "plain")}
    assert len(modes) == 1


def test_an_interrupted_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_only_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_bytes_atomically(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_partial_file(tmp_path):
    path = tmp_path / "file.bin"
    contents = [bytes([i]) * 200_000 for i in range(40)]
    write_bytes_atomically(path, contents[0])
    writer = threading.Thread(target=lambda: [write_bytes_atomically(path, content) for content in contents])
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)


def test_a_folder_that_cannot_be_created_raises_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_bytes_atomically(tmp_path / "file" / "below" / "x", b"")
