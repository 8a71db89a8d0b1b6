from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dualclip_lightning.cachedir import cache_dir, home


@pytest.fixture
def no_home(monkeypatch):
    """A user whom the system does not know, in a container without HOME."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DUALCLIP_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


def test_without_a_home_caches_go_to_a_temporary_folder_and_a_sentence_says_so(no_home, monkeypatch, capsys):
    folder = cache_dir("anchors")
    assert folder.is_absolute()
    assert folder.parts[-3:] == (".cache", "dualclip_lightning", "anchors")
    assert "no home folder is known" in capsys.readouterr().err


def test_a_known_home_is_taken_without_a_word(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path
    assert capsys.readouterr().err == ""


def test_a_command_gives_every_library_the_temporary_home_and_leaves_nothing():
    code = """
import os, pathlib, sys
os.environ.pop("HOME", None)
pathlib.Path.home = classmethod(lambda cls: pathlib.Path(os.environ["HOME"]) if "HOME" in os.environ else unknown())
def unknown():
    raise RuntimeError("Could not determine home directory.")
from dualclip_lightning.cli import main
status = main(["weights", "list", "ViT-B-16-plus-240"])
import huggingface_hub, torch
print(os.environ["HOME"], huggingface_hub.constants.HF_HUB_CACHE, torch.hub.get_dir(), status, sep="\\n")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder, hub, torch_hub, status = found.stdout.splitlines()[-4:]
    assert status == "0"
    assert "no home folder is known" in found.stderr
    assert hub.startswith(folder)
    assert torch_hub.startswith(folder)
    assert not Path(folder).exists()
