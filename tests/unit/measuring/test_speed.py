from __future__ import annotations

import pandas as pd
import pytest
import torch

from dualclip_lightning.measuring import speed
from tests.towers import random_images, tower


@pytest.fixture
def variants():
    visual = tower()
    with torch.inference_mode():
        return {name: build(visual) for name, build in speed.VARIANTS.items() if name not in speed.WITH_STEM}


@pytest.mark.slow
def test_every_variant_runs_and_is_counted(variants):
    counted = speed.forwards(variants, random_images(2))
    assert counted[speed.BARE] == 1
    assert counted["dual-path encoder"] < counted["WinCLIP"] < counted["WinCLIP+, 1 normal image"] * 1.01
    assert counted["Dual-Image CLIP with TTA, 2 steps"] > 1.9 * counted["Dual-Image CLIP"] - 1
    assert counted["AnoCLIP, 22 views, TTA"] > 15


def test_counting_leaves_the_fast_kernels_on(variants):
    speed.forwards({"one": variants[speed.BARE]}, random_images(1))
    assert torch.backends.mha.get_fastpath_enabled()


def test_ratios_are_taken_round_by_round_and_then_their_median():
    seconds = pd.DataFrame({"bare": [1.0, 2.0, 4.0], "other": [2.0, 2.0, 12.0]})
    table = speed.summarise(seconds, images=2)
    assert table.loc["bare"].tolist() == [1.0, 1.0]
    assert table.loc["other"].tolist() == [1.0, 2.0]


def test_the_first_round_is_thrown_away(variants):
    steps = {name: variants[name] for name in (speed.BARE, "Dual-Image CLIP")}
    assert speed.time_steps(steps, random_images(1), rounds=2).shape == (2, 2)


def test_an_unknown_variant_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--methods", "nothing"])
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.slow
def test_a_tower_without_texts_takes_only_the_methods_without_texts(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--backbone", "timm:test_vit", "--methods", "WinCLIP"])
    assert "has no texts. Choose among: bare forward; MuSc" in capsys.readouterr().err
    speed.main(["--backbone", "timm:test_vit", "--methods", "all", "--batch", "2", "--rounds", "1", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "timm:test_vit, 160x160 pixels, batch 2" in printed
    assert all(name in printed for name in speed.WITHOUT_TEXTS)


@pytest.mark.slow
def test_only_a_tower_with_a_stem_takes_its_steps(capsys, embedded_model):
    with pytest.raises(SystemExit):
        speed.main(["--backbone", "ViT-B-32", "--methods", *speed.WITH_STEM])
    assert "has no convolutional stem. Choose among: bare forward; dual" in capsys.readouterr().err
    options = ["--batch", "5", "--rounds", "1", "--device", "cpu", "--size", "64"]
    speed.main(["--pretrained", "demo", "--methods", *speed.WITH_STEM, *options])
    printed = capsys.readouterr().out
    assert "demo, 64x64 pixels, batch 5" in printed
    assert "Dual-Image CLIP, stem, K = 4" in printed


def test_more_references_cost_no_forward(variants):
    """Images are encoded once, whatever the number of references."""
    images = random_images(6)
    counted = speed.forwards({name: variants[name] for name in variants if "K =" in name or name == speed.BARE}, images)
    assert counted["Dual-Image CLIP, layers, K = 4"] < 1.6 * counted["Dual-Image CLIP, layers, K = 1"]


@pytest.mark.slow
def test_images_may_have_another_size_than_those_of_the_tower(capsys):
    options = [
        "--backbone",
        "ViT-S-32",
        "--size",
        "64",
        "--methods",
        "MuSc-2",
        "--batch",
        "2",
        "--rounds",
        "1",
    ]
    speed.main([*options, "--rounds", "1", "--device", "cpu"])
    assert "ViT-S-32, 64x64 pixels, batch 2" in capsys.readouterr().out
