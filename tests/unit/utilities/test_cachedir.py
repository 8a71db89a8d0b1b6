from __future__ import annotations

import pytest

from dualclip_lightning.utilities.cachedir import cache_dir, home


@pytest.fixture
def no_home(monkeypatch):
    """Simulate a user without an entry in the system, in a container without HOME."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DUALCLIP_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


def test_without_a_home_caches_go_to_a_temporary_folder_with_a_note(no_home, monkeypatch, capsys):
    folder = cache_dir("anchors")
    assert folder.is_absolute()
    assert folder.parts[-3:] == (".cache", "dualclip_lightning", "anchors")
    assert "no home folder is known" in capsys.readouterr().err


def test_a_known_home_is_used_without_a_note(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path
    assert capsys.readouterr().err == ""
