"""Which modules an import loads and which side effects it has, each in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualclip_lightning import plugin
from tests.interpreters import run_prepared
from tests.towers import write_image

pytestmark = pytest.mark.slow


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Function that runs a script in a new interpreter and returns the lines of standard output and error."""

    def run(script: str, status: int = 0, **environment: str) -> tuple[list[str], list[str]]:
        monkeypatch.delenv(plugin.OFF_SWITCH, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-W", "ignore", "-c", script]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.mark.parametrize("module", ["dualclip_lightning", "dualclip_lightning.plugin", "dualclip_lightning.cli"])
def test_importing_loads_only_the_standard_library(module, python):
    script = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    (printed,), _ = python(script)
    packages = {name.split(".")[0] for name in printed.split()}
    assert "dualclip_lightning" in packages
    assert packages - {"dualclip_lightning"} <= set(sys.stdlib_module_names)


def test_the_weights_command_imports_nothing_heavy(python):
    script = (
        "import sys; from dualclip_lightning.weights import command; print({'torch', 'open_clip'} & {*sys.modules})"
    )
    assert python(script)[0] == ["set()"]


def test_the_metrics_do_not_import_anomalib(tmp_path):
    names = "PixelMetrics, ImageMetrics"
    script = f"import sys; from dualclip_lightning.metrics import {names}; print('anomalib' in sys.modules)"
    ended = run_prepared(["-c", script], tmp_path, os.environ)
    assert (ended.status, ended.out) == (0, "False\n")


def test_predict_prints_its_first_line_before_pytorch_is_imported(tmp_path, python):
    write_image(tmp_path / "x.png", seed=0)
    script = (
        "import sys; sys.modules['torch'] = None; from dualclip_lightning.predict.options import main; "
        f"main([{str(tmp_path)!r}])"
    )
    _, (first, *_, last) = python(script, status=1)
    assert first == "Loading PyTorch and the model ..."
    assert "torch" in last


def test_the_doctor_reports_everything_else_if_pytorch_is_broken(python):
    script = (
        "import sys; sys.modules['torch'] = None; from dualclip_lightning.cli import main; sys.exit(main(['doctor']))"
    )
    printed, _ = python(script, status=1)
    states = {line[9:27].strip(): line[:8].strip() for line in printed if line[:8].strip()}
    assert states["python"] == states["packages"] == states["cache"] == "ok"
    assert states["devices"] == states["self-test"] == states["imports"] == "problem"
    assert "-> pip install --force-reinstall --no-deps torch" in "\n".join(printed)


def test_a_command_gives_every_library_the_temporary_home_and_leaves_nothing(python):
    script = """
import os, pathlib, sys
os.environ.pop("HOME", None)
pathlib.Path.home = classmethod(lambda cls: pathlib.Path(os.environ["HOME"]) if "HOME" in os.environ else unknown())
def unknown():
    raise RuntimeError("Could not determine home directory.")
from dualclip_lightning.cli import main
status = main(["version"])
from huggingface_hub import constants
print(os.environ["HOME"], constants.HF_HUB_CACHE, os.path.expanduser("~"), status, sep="\\n")
"""
    printed, said = python(script)
    folder, hub, home, status = printed[-4:]
    assert status == "0"
    assert any("no home folder is known" in line for line in said)
    assert hub.startswith(folder)
    assert home == folder  # in which PyTorch and others look whenever they need their caches
    assert not Path(folder).exists()


def test_torch_installs_the_hook_unless_switched_off(python):
    script = f"""
import os, sys
def is_installed():
    return any(type(finder).__name__ == "_PostImportFinder" for finder in sys.meta_path)
import torch
print(is_installed())
os.environ[{plugin.OFF_SWITCH!r}] = "1"
torch._import_device_backends()  # as at the end of the import
print(is_installed())
del os.environ[{plugin.OFF_SWITCH!r}]
torch._import_device_backends()
print(is_installed())"""
    printed, said = python(script, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert printed == ["False", "False", "True"]
    assert not any("could not add its models" in line for line in said)


CHECK = """
import anomalib.data, anomalib.models
from jsonargparse._typehints import resolve_class_path_by_name
from dualclip_lightning.registry import DATAMODULES, MODELS
for base, host, classes in (
    (anomalib.models.AnomalibModule, anomalib.models, MODELS),
    (anomalib.data.AnomalibDataModule, anomalib.data, DATAMODULES),
):
    for name in classes:
        assert resolve_class_path_by_name(base, name).endswith("." + name), name
        assert getattr(host, name).__name__ == name
assert set(MODELS) <= anomalib.models.list_models("pascal")
print("known")"""
"""Script that fails unless anomalib and jsonargparse find every class of ours."""


def test_anomalib_finds_our_classes_if_it_imports_torch_in_its_body(python):
    printed, said = python(f"import anomalib.models\n{CHECK}")
    assert printed[-1] == "known"
    assert not any("could not add its models" in line for line in said)


def test_anomalib_finds_our_classes_if_it_is_imported_by_our_model(tmp_path):
    ended = run_prepared(["-c", f"from dualclip_lightning import DualImageCLIP\n{CHECK}"], tmp_path, os.environ)
    assert (ended.status, ended.out.splitlines()[-1:]) == (0, ["known"]), ended.err
    assert "could not add its models" not in ended.err
