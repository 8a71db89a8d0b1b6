"""The package as it is built: no module imports itself by way of others, no folder is crowded, one class per name."""

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
"""Modules side by side in one folder, `__init__` and `__main__` apart."""


def module_name(path, package=PACKAGE):
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def executed(tree):
    """All nodes except those under `if TYPE_CHECKING`; bodies of functions count, so that no import can hide in one."""
    for node in ast.iter_child_nodes(tree):
        yield node
        yield from (
            (inner for each in node.orelse for inner in (each, *executed(each)))
            if is_for_type_checkers(node)
            else executed(node)
        )


def imports(tree, known):
    """The modules of the package that a module imports."""
    for node in executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in submodules)


@cache
def import_graph(package=PACKAGE):
    paths = {module_name(path, package): path for path in package.rglob("*.py")}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    return {name: set(imports(tree, paths)) for name, tree in trees.items()}


def write_package(folder, **modules):
    package = folder / "house"
    package.mkdir()
    for name, text in {"__init__": "", **modules}.items():
        (package / f"{name}.py").write_text(text)
    return import_graph(package)


@pytest.mark.parametrize("hidden", ["from house import b", "def f():\n    from house.b import x", "import house.b"])
def test_a_cycle_would_be_found_wherever_its_import_stands(tmp_path, hidden):
    graph = write_package(tmp_path, a=hidden, b="from house.c import y", c="from house.a import z")
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_an_import_for_type_checkers_closes_no_cycle(tmp_path):
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.b import x"
    TopologicalSorter(write_package(tmp_path, a=guarded, b="import house.a")).prepare()


def test_no_module_imports_itself_by_way_of_others():
    graph = import_graph()
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("room", "above"), [("plan", {"run", "report"}), ("run", {"report"}), ("report", {"run"})])
def test_the_rooms_of_the_benchmark_know_only_those_below_them(room, above):
    home = "dualclip_lightning.benchmark."
    graph = {name: found for name, found in import_graph().items() if name.startswith(home + room)}
    assert len(graph) > 5
    reached = {name.removeprefix(home).split(".")[0] for found in graph.values() for name in found if home in name}
    assert room in reached
    assert not reached & {*above, "command", "regression", "options"}


@pytest.mark.parametrize(
    ("room", "below"), [("input", set()), ("scoring", {"input"}), ("output", {"input", "scoring"})]
)
def test_the_rooms_of_predict_know_only_those_below_them(room, below):
    home = "dualclip_lightning.predict."
    graph = {name: found for name, found in import_graph().items() if name.startswith(f"{home}{room}.")}
    assert len(graph) > 4
    reached = {name.removeprefix(home).split(".")[0] for found in graph.values() for name in found if home in name}
    assert room in reached
    assert reached <= {room, *below, "limits", "names"}


def test_no_folder_is_crowded():
    modules = [path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in modules)
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert not crowded


def test_a_name_belongs_to_one_class():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py"))
    classes = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    shared = {name for name, count in classes.items() if count > 1 and not name.startswith("_")}
    assert not shared
