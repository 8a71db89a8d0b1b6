"""Every notebook runs from first to last cell, and is stored with its outputs and without paths of a machine."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt

from dualclip_lightning.demo.data import datamodule, samples
from dualclip_lightning.testing import check
from dualclip_lightning.testing.checks import independence
from tests.forked import Forked

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FEWER = {
    "reproduce_the_tables": {
        "[carpet, cork]": "[cork]",
        "  4 references: {model: DualImageCLIP, arguments: {num_references: 4}}\n": "",
    },
    "write_your_own_scorer": {
        '("cork", "granite")': '("granite",)',
        '    "demo": {"pretrained": "demo"},\n': "",
    },
}
"""Categories and methods that a notebook runs through, and those that are enough to see that it runs."""
MANY_GOOD_IMAGES = {"your_own_images"}
"""Notebooks that calibrate a threshold; the others need few images."""
MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|opt|usr|var|mnt|work|Users)/|[A-Z]:\\\\|site-packages")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def shorten(path, notebook):
    """Draw the categories that a notebook names, few images of each, and run few checks; their own tests run all."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for before, after in FEWER.get(path.stem, {}).items():
        assert any(before in source for source in sources)
        sources = [source.replace(before, after) for source in sources]
    text = "\n".join(sources)
    datamodule.CATEGORIES = tuple(name for name in datamodule.CATEGORIES if name in text)
    if path.stem not in MANY_GOOD_IMAGES:
        samples.GOOD_IMAGES, samples.IMAGES_A_DEFECT = 4, 1
    check.CHECKS = (check.CHECKS[0], independence.batches_change_no_score)
    return sources


@pytest.mark.slow
def test_a_notebook_runs(path, notebook, tmp_path):
    def run_cells():
        plt.switch_backend("agg")
        shell = InteractiveShell.instance()
        for source in shorten(path, notebook):
            shell.run_cell(source).raise_error()

    folders = {"IPYTHONDIR": str(tmp_path / "ipython"), "DUALCLIP_CACHE": str(tmp_path / "cache")}
    ended = Forked(run_cells, tmp_path, **folders).end()
    assert ended.status == 0, ended.out + ended.err


def test_a_notebook_is_stored_as_it_ran_from_top_to_bottom(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)


def test_a_notebook_contains_no_path_of_a_machine(notebook):
    texts = [cell.source for cell in notebook.cells]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        texts += [output.get("text", ""), *(v for kind, v in output.get("data", {}).items() if kind != "image/png")]
    assert not [text for text in texts if MACHINE.search(str(text))]


def test_a_notebook_stores_no_times_of_its_run(notebook):
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
