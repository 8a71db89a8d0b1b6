"""Structure of the package: no import cycles, no folder with too many modules, no two classes of one name."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dualclip_lightning

PACKAGE = Path(dualclip_lightning.__file__).parent
MOST_MODULES = 12
"""Limit for the modules of a folder, without `__init__` and `__main__`."""


def module_name(path, package=PACKAGE):
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def executed(tree):
    """Yield all statements except those under `if TYPE_CHECKING`, also those of functions, which may be imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue
        yield node
        yield from (
            (inner for each in node.orelse for inner in (each, *executed(each)))
            if is_for_type_checkers(node)
            else executed(node)
        )


def imports(tree, known):
    """Yield the modules of the package that a module imports."""
    for node in executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in submodules)


@cache
def parsed(package=PACKAGE):
    """Return the syntax trees of all modules by name."""
    return {module_name(path, package): ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}


@cache
def import_graph(package=PACKAGE):
    trees = parsed(package)
    return {name: set(imports(tree, trees)) for name, tree in trees.items()}


def write_package(folder, **modules):
    package = folder / "example"
    package.mkdir()
    for name, text in {"__init__": "", **modules}.items():
        (package / f"{name}.py").write_text(text)
    return import_graph(package)


@pytest.mark.parametrize(
    "hidden", ["from example import b", "def f():\n    from example.b import x", "import example.b"]
)
def test_an_import_cycle_is_found_for_every_form_of_import(tmp_path, hidden):
    graph = write_package(tmp_path, a=hidden, b="from example.c import y", c="from example.a import z")
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_an_import_for_type_checkers_does_not_count_as_a_cycle(tmp_path):
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from example.b import x"
    TopologicalSorter(write_package(tmp_path, a=guarded, b="import example.a")).prepare()


def test_the_package_has_no_import_cycles():
    graph = import_graph()
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("part", "above"), [("plan", {"run", "report"}), ("run", {"report"}), ("report", {"run"})])
def test_subpackages_of_the_benchmark_do_not_import_those_above_them(part, above):
    home = "dualclip_lightning.benchmark."
    graph = {name: found for name, found in import_graph().items() if name.startswith(home + part)}
    assert len(graph) > 5
    reached = {name.removeprefix(home).split(".")[0] for found in graph.values() for name in found if home in name}
    assert part in reached
    assert not reached & {*above, "command", "regression", "options"}


@pytest.mark.parametrize(
    ("part", "below"), [("input", set()), ("scoring", {"input"}), ("output", {"input", "scoring"})]
)
def test_subpackages_of_predict_import_only_those_below_them(part, below):
    home = "dualclip_lightning.predict."
    graph = {name: found for name, found in import_graph().items() if name.startswith(f"{home}{part}.")}
    assert len(graph) > 4
    reached = {name.removeprefix(home).split(".")[0] for found in graph.values() for name in found if home in name}
    assert part in reached
    assert reached <= {part, *below, "limits", "names"}


def test_no_folder_has_too_many_modules():
    modules = [path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in modules)
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert not crowded


def test_no_two_classes_have_the_same_name():
    nodes = (node for tree in parsed().values() for node in ast.walk(tree))
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    shared = {name for name, count in classes.items() if count > 1 and not name.startswith("_")}
    assert not shared
