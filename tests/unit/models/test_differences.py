"""The table of differences from the released codes agrees with constructors and shipped configurations."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dualclip_lightning.benchmark.plan.config import load_config
from dualclip_lightning.benchmark.plan.schema import Config, arguments_of
from dualclip_lightning.images.masks import check_rule
from dualclip_lightning.registry import MODELS

ROOT = Path(__file__).parents[3]
COLUMNS = {"mvtec": (3, 4), "visa": (5, 6)}
"""Columns of the released value and of the choice of a configuration, for each configuration."""


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def table():
    """Return the rows of the table as lists of cells."""
    text = (ROOT / "dualclip_lightning" / "models" / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Where a default is not the released code\n")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(lines) > 20
    return [cells(line) for line in lines]


def value(cell):
    """Parse a cell with a YAML value in backticks."""
    found = re.fullmatch(r"`(.+)`", cell)
    assert found, cell
    return yaml.safe_load(found.group(1))


def plain(value):
    return list(value) if isinstance(value, tuple) else value


ROWS = [
    (method, row) for row in table() if row[1] != "-" for method in re.findall(r"`(\w+)`", row[0])
]  # fmt: skip
IDS = [f"{method}.{row[1].strip('`')}" for method, row in ROWS]


@cache
def shipped(name):
    """Return a configuration of the package; it is cached, so do not modify it."""
    return load_config(ROOT / "configs" / "benchmark" / f"{name}.yaml")


def of_benchmark(key):
    return key == "masks" or key.startswith("evaluation.")


def default_of(method, key):
    if of_benchmark(key):
        settings = Config(methods={}, datasets={})
        return settings.masks if key == "masks" else getattr(settings.evaluation, key.partition(".")[2])
    return plain(inspect.signature(getattr(import_module(MODELS[method]), method)).parameters[key].default)


def taken(config, label, key, default):
    """Return the value that a configuration uses for one of its methods."""
    entry = config.methods[label]
    if of_benchmark(key):
        return (entry.masks or config.masks) if key == "masks" else getattr(config.evaluation, key.partition(".")[2])
    return arguments_of(entry, config).get(key, default)


@pytest.mark.parametrize(("method", "row"), ROWS, ids=IDS)
def test_the_parameter_exists_and_has_the_default_of_the_table(method, row):
    assert default_of(method, row[1].strip("`")) == value(row[2])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("method", "row"), ROWS, ids=IDS)
def test_a_shipped_configuration_takes_what_the_table_says(method, row, name):
    config = shipped(name)
    released, takes = (row[column] for column in COLUMNS[name])
    default, released = value(row[2]), value(released)
    wanted = {"default": [default], "released": [released], "both": [default]}[takes]
    assert (takes == "both") == (default == released)
    key = row[1].strip("`")
    # MuSc-2 has no released code, and SDP+ has a drawing of its own, which the table states in words.
    apart = {"MuSc-2"} | ({"CLIP-AD SDP+"} if key == "drawing" else set())
    labels = [label for label, entry in config.methods.items() if entry.model == method and label not in apart]
    assert labels
    for label in labels:
        assert [taken(config, label, key, default)] == wanted, label


@pytest.mark.parametrize(("method", "row"), ROWS, ids=IDS)
def test_the_released_value_is_one_that_the_method_takes(method, row, tiny_folder):
    owner = getattr(import_module(MODELS[method]), method)
    key = row[1].strip("`")
    for released in {row[column] for column, _ in COLUMNS.values()}:
        if key == "masks":
            check_rule(value(released))
        elif key != "pretrained" and not of_benchmark(key):
            owner(**{"pretrained": str(tiny_folder), "visualizer": False, key: value(released)})


def test_what_a_shipped_configuration_sets_beside_the_defaults_is_in_the_table():
    """Arguments that define a separate row of a table are exempt."""
    variants = {"num_references", "tta", "k_shot", "image_size", "variant"}
    known = {(method, row[1].strip("`")) for method, row in ROWS}
    for name in COLUMNS:
        config = shipped(name)
        assert set(config.arguments) <= {key for _, key in known}
        for entry in config.methods.values():
            if entry.model in MODELS:
                own = set(entry.arguments) - variants
                assert {(entry.model, key) for key in own} <= known
