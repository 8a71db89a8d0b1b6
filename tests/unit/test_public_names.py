"""The public names: the table that lists them, and the examples in their docstrings."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import dualclip_lightning
from dualclip_lightning.demo.data import datamodule, samples
from dualclip_lightning.predict import detector
from dualclip_lightning.predict.export.exporting import Exported
from dualclip_lightning.predict.export.provenance import output_names

TABLE = (Path(dualclip_lightning.__file__).parent / "README.md").read_text(encoding="utf-8")
ROWS = {
    module: re.findall(r"`(\w+)`", names)
    for module, names in re.findall(r"^\| `(dualclip_lightning[\w.]*)` \| (.*) \|$", TABLE, re.MULTILINE)
}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples(public: object, name: str) -> list[doctest.DocTest]:
    """Return the examples of a class and its methods, or of a function."""
    found = doctest.DocTestFinder(exclude_empty=True).find(public, name, module=False, globs={})
    return [each for each in found if each.examples]


def callables() -> dict[str, object]:
    """Return public classes and functions by qualified name; constants and type aliases have no docstring."""
    offered = (getattr(import_module(module), name) for module, names in ROWS.items() for name in names)
    return {
        f"{each.__module__}.{each.__qualname__}": each
        for each in offered
        if inspect.isclass(each) or inspect.isfunction(each)
    }


PUBLIC = callables()
SLOW = {
    "dualclip_lightning.models.anoclip.lightning_model.AnoCLIP",
    "dualclip_lightning.testing.check.check_method", "dualclip_lightning.predict.detector.Detector",
}  # fmt: skip
"""Names with examples of over half a second."""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """Run examples in a temporary folder with a small demo data set; other tests run the files that exports write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datamodule, "CATEGORIES", ("cork",))
    monkeypatch.setattr(samples, "GOOD_IMAGES", 4)
    monkeypatch.setattr(samples, "IMAGES_A_DEFECT", 1)
    monkeypatch.setattr(detector, "export_graph", lambda graph, *_, **__: Exported((), output_names(graph), 0.0))


def test_the_table_includes_the_package_itself():
    assert "dualclip_lightning" in ROWS
    assert all(ROWS.values())


@pytest.mark.parametrize("module", ROWS)
def test_a_module_offers_what_the_table_says(module):
    assert sorted(ROWS[module]) == sorted(import_module(module).__all__)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PUBLIC])
def test_the_example_of_a_public_name_gives_the_output_it_shows(name):
    found = examples(PUBLIC[name], name)
    assert found, f"{name} has no example in its docstring"
    for example in found:
        said: list[str] = []
        failed, _ = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(example, out=said.append)
        assert not failed, "".join(said)


def test_an_example_that_is_wrong_is_noticed():
    def wrong():
        """>>> 1 + 1
        3
        """

    (example,) = examples(wrong, "wrong")
    assert doctest.DocTestRunner(optionflags=FLAGS).run(example, out=lambda _: None).failed == 1
