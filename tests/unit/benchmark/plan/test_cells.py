from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dualclip_lightning.benchmark.plan import cells as rooms
from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import parse_config
from dualclip_lightning.benchmark.run.execute import run_cell
from dualclip_lightning.registry import MODELS
from tests.tiny_benchmark import CONFIGS, shipped_config, tiny_config, tiny_content
from tests.towers import write_mvtec


def keys(config):
    return [cell.key for cell in plan(config)]


def test_the_plan_is_methods_by_categories_by_seeds_in_their_order():
    config = parse_config(
        tiny_content("data", "demo", datasets={"a": {"data": "MVTec", "categories": ["wood", "pill"]}})
    )
    found = [(cell.method, cell.dataset, cell.data, cell.category, cell.seed) for cell in plan(config)]
    expected = [("text", "a", "MVTec", category, 0) for category in ("wood", "pill")]
    expected += [("joint", "a", "MVTec", category, seed) for category in ("wood", "pill") for seed in (0, 1, 2)]
    assert found == expected
    assert len(set(keys(config))) == len(found)


def test_all_categories_are_those_of_the_data_set_and_one_where_it_has_none():
    config = parse_config(tiny_content("data", "demo", datasets={"Visa": {}, "Kolektor": {}}, seeds=[0]))
    names = [cell.category for cell in plan(config) if cell.method == "text"]
    assert len(names) == 13
    assert names[-1] == "all"


def test_the_key_is_the_same_every_time_and_tells_the_cell():
    config = tiny_config("data", "demo")
    assert keys(config) == keys(tiny_config("data", "demo"))
    assert keys(config)[1].startswith("joint-mvtecad-metal_nut-s0-")


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "16-mixed"},
        {"device": "cuda"},
        {"arguments": {"pretrained": "demo", "resize": "crop"}},
        {"datasets": {"MVTecAD": {"arguments": {"root": "elsewhere"}, "categories": ["metal_nut"]}}},
        {"datasets": {"MVTecAD": {"data": "MVTec", "arguments": {"root": "data"}, "categories": ["metal_nut"]}}},
    ],
)
def test_everything_that_determines_the_numbers_changes_the_key(changes):
    before, after = keys(tiny_config("data", "demo")), keys(tiny_config("data", "demo", **changes))
    assert not set(before) & set(after)


def test_everything_else_keeps_the_key():
    changes = {"batch_size": 3, "num_workers": 2, "keep_maps": "all", "name": "other"}
    assert keys(tiny_config("data", "demo")) == keys(tiny_config("data", "demo", **changes))


def test_an_explicit_default_keeps_the_key_and_another_version_or_default_does_not(monkeypatch):
    config = tiny_config("data", "demo")
    spelt = replace(config, arguments={**config.arguments, "num_references": 1})
    assert keys(config) == keys(spelt)
    monkeypatch.setattr(rooms, "libraries", lambda: {"torch": "0.1"})
    assert not set(keys(config)) & set(keys(tiny_config("data", "random")))
    newer = keys(config)
    monkeypatch.undo()
    assert not set(newer) & set(keys(config))


def test_weights_and_folders_of_a_method_count_by_content(tmp_path):
    weights, textures = tmp_path / "weights.safetensors", tmp_path / "textures"
    textures.mkdir()
    methods = {"a": {"model": "DualImageCLIP", "arguments": {"tta": {"textures": str(textures)}}}}

    def now(content, texture):
        weights.write_bytes(content)
        (textures / "one.png").write_bytes(texture)
        return keys(tiny_config("data", weights, methods=methods))[0]

    first = now(b"one", b"a")
    assert now(b"two", b"a") != first
    assert now(b"one", b"bb") != first
    assert now(b"one", b"a") == first


def test_arguments_and_class_names_may_differ_by_data_set_and_category_and_change_only_the_keys_of_those():
    data = {"first": {"data": "MVTec", "categories": ["pill", "wood"]}, "second": {"data": "BTech"}}
    special = {"second": {"arguments": {"lowest": 0.4}, "categories": {"02": {"lowest": 0.5}}, "masks": "full"}}
    methods = {"a": {"model": "MuSc", "arguments": {"lowest": 0.2}, "seeds": [0]}}
    before = plan(tiny_config("data", "demo", methods=methods, datasets=data))
    data["second"]["class_name"] = {"03": "tile"}
    methods["a"]["per_dataset"] = special
    after = plan(tiny_config("data", "demo", methods=methods, datasets=data))
    assert [cell.arguments["lowest"] for cell in after] == [0.2, 0.2, 0.4, 0.5, 0.4]
    assert [cell.class_name for cell in after] == [None, None, None, None, "tile"]
    assert [cell.masks for cell in after] == ["nearest"] * 2 + ["full"] * 3
    assert [one.key == other.key for one, other in zip(before, after, strict=True)] == [True, True, False, False, False]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_configuration_can_be_planned_without_its_data(name):
    config = shipped_config(name)
    cells = plan(config)
    assert {(cell.method, cell.dataset) for cell in cells} == set(product(config.methods, config.datasets))
    assert len({cell.key for cell in cells}) == len(cells)


@pytest.mark.slow
def test_the_paper_in_one_run_has_the_cells_of_its_two_tables():
    one, *two = (set(keys(shipped_config(name))) for name in ("paper", "mvtec", "visa"))
    assert one == set().union(*two)


@pytest.mark.parametrize("keep", ["none", "first", "all"])
def test_maps_are_kept_of_no_seed_the_first_or_all(keep):
    kept = [cell.keep_maps for cell in plan(tiny_config("data", "demo", keep_maps=keep)) if cell.method == "joint"]
    assert kept == {"none": [False] * 3, "first": [True, False, False], "all": [True] * 3}[keep]


@pytest.fixture(scope="module")
def even_root(tmp_path_factory):
    """Root of a data set with images of one size, as in VisA, because AnoCLIP's tiles keep the aspect ratio."""
    folder = tmp_path_factory.mktemp("even")
    write_mvtec(folder, "metal_nut", normal=2, anomalous=3, sizes=[(40, 56)] * 2)
    return folder


def shipped():
    """Return the methods of the shipped configurations with arguments for tiny weights, and whether each has one seed.

    Those that differ only in what is replaced for the tiny weights and data are one.
    """
    found = {}
    for name in ("demo", "visa", "ablation_components", "ablation_references"):
        config = shipped_config(name)
        for label, method in config.methods.items():
            if method.model in MODELS and method.train_on is None:
                arguments = {each: value for each, value in method.arguments.items() if each != "pretrained"}
                if "k_shot" in arguments:
                    arguments["k_shot"] = 1  # the tiny data set has few normal images
                one_seed = method.seeds is not None
                case = pytest.param({"model": method.model, "arguments": arguments}, one_seed, id=label)
                found.setdefault((method.model, json.dumps(arguments, sort_keys=True), one_seed), case)
    return list(found.values())


@pytest.mark.parametrize(("method", "one_seed"), shipped())
def test_shipped_methods_have_one_seed_where_and_only_where_nothing_depends_on_it(
    method, one_seed, even_root, tiny_folder
):
    cells = plan(tiny_config(even_root, tiny_folder, methods={"a": method}, seeds=[0, 1], keep_maps="all"))
    first, second = (run_cell(cell) for cell in cells)
    same = np.allclose(first.images["score"], second.images["score"], atol=1e-5)
    same &= np.allclose(first.maps.maps, second.maps.maps, atol=2e-3)  # half precision
    takes_all = (method["arguments"].get("num_references") or 1) >= len(first.images) - 1
    assert same == (one_seed or takes_all)
