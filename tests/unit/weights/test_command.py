from __future__ import annotations

import open_clip
import pytest
import torch

from dualclip_lightning.weights.command import main
from tests.towers import CONFIG, tiny_clip

ARCHITECTURE = "test-ViT-tiny-16"
NAME = "open_clip_pytorch_model.bin"


@pytest.fixture
def tiny_tag(monkeypatch, tmp_path, web):
    """A tag `tiny`, whose file is on the local hub."""
    torch.save(tiny_clip().state_dict(), tmp_path / "state")
    web.add_to_hub("someone/tiny", NAME, (tmp_path / "state").read_bytes())
    line = {"hf_hub": "someone/tiny/", "url": "", "mean": (0.5,) * 3, "std": (0.4,) * 3}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, CONFIG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"tiny": line})
    return web


def test_a_file_is_downloaded_in_advance_copied_and_then_listed_as_present(tiny_tag, tmp_path, capsys):
    assert main(["list", ARCHITECTURE]) == 0
    assert capsys.readouterr().out.startswith(f"to fetch  {ARCHITECTURE}  tiny")
    assert main(["download", ARCHITECTURE, "tiny", "--to", str(tmp_path / "stick")]) == 0
    assert (tmp_path / "stick" / NAME).read_bytes() == (tmp_path / "state").read_bytes()
    assert f"--pretrained {tmp_path / 'stick' / NAME}" in capsys.readouterr().out
    tiny_tag.files.clear()
    assert main(["list", ARCHITECTURE]) == 0
    assert capsys.readouterr().out.startswith(f"here     {ARCHITECTURE}  tiny")


def test_check_loads_weights_and_prints_their_origin(tiny_tag, capsys):
    assert main(["check", ARCHITECTURE, "tiny"]) == 0
    out = capsys.readouterr().out
    assert "complete, images of 48x48 pixels" in out
    assert f"from repository someone/tiny, file {NAME}" in out


def test_an_unavailable_file_gives_one_line_and_a_status(unreachable_hub, capsys):
    assert main(["download", "ViT-B-16", "openai"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dualclip: Cannot fetch open_clip_model.safetensors")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["download", "ViT-B-16", "nothing"], ["download", "ViT-B-16", "random"], ["list", "RN50"]]
)
def test_an_unknown_tag_or_tower_is_refused(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("dualclip: ")
