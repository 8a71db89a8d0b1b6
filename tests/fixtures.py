"""Fixtures shared by all tests: a separate cache folder, a local hub, and a CLIP that runs in milliseconds."""

from __future__ import annotations

from multiprocessing import get_context

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from dualclip_lightning.backbone.checkpoints import choosing
from dualclip_lightning.utilities import processes
from tests import towers
from tests.interpreters import prepared_context
from tests.shortcuts import leave_out_of_collections, shortcuts
from tests.web import serve

EMBEDDED = choosing.DEMO_FOLDER


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALCLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _tiny_demo_model():
    """Make `pretrained="demo"` load the small trained model of the tests, except in new interpreters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "DEMO_FOLDER", towers.TINY_CLIP)
        yield


@pytest.fixture(autouse=True, scope="session")
def _autograd_before_any_export():
    """Start autograd while it sees no device; an export to ONNX adds one, whose thread would not survive a fork."""
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(autouse=True, scope="session")
def _shortcuts():
    with shortcuts():
        yield


@pytest.fixture(autouse=True, scope="module")
def _what_a_module_leaves_is_not_searched_for_garbage():
    """Keep collections as fast at the end of the tests as at their beginning; exporters leave a million objects."""
    yield
    leave_out_of_collections()


@pytest.fixture(scope="module")
def embedded_model():
    """Folder of the demo model of the package; `pretrained="demo"` loads it until the end of the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "DEMO_FOLDER", EMBEDDED)
        yield EMBEDDED


@pytest.fixture
def golden(request):
    """Function that reads a file of recorded vectors by name."""
    folder = request.config.rootpath / "tests" / "golden"
    return lambda name: load_file(folder / f"{name}.safetensors")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Folder of a tiny CLIP as open_clip saves it, including its preprocessing."""
    folder = tmp_path_factory.mktemp("tiny_clip")
    towers.save_folder(towers.tiny_clip(), folder)
    return folder


@pytest.fixture
def takes(monkeypatch):
    """Function that sets how many seconds a call appears to take; its `passed` lists the seconds of all calls."""
    passed = []

    def set_seconds(owner, name, seconds):
        original = getattr(owner, name)

        def wrapped(*args, **kwargs):
            passed.append(seconds)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    set_seconds.passed = passed
    return set_seconds


@pytest.fixture
def forks(monkeypatch):
    """Make the processes of a pool forks of this one, which do not need to import the libraries."""
    monkeypatch.setattr(processes, "get_context", lambda _: get_context("fork"))


@pytest.fixture
def prepared(monkeypatch):
    """Make the processes of a pool forks of an interpreter that has imported PyTorch, but nothing of this package."""
    prepared_context()  # so that it is not a fork that starts the server, which would end with it
    monkeypatch.setattr(processes, "get_context", lambda _: prepared_context())


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def mvtec_root(tmp_path_factory):
    """Root of a data set in MVTec layout with one category, metal_nut: 4 normal and 5 anomalous test images."""
    root = tmp_path_factory.mktemp("MVTecAD")
    towers.write_mvtec(root, "metal_nut")
    return root


@pytest.fixture
def own_caches(monkeypatch, tmp_path):
    """Empty caches of the hub and of open_clip."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def web(monkeypatch, own_caches):
    """A local hub, to which the client of the Hugging Face hub is directed."""
    with serve() as running:
        use_hub(monkeypatch, running.address)
        yield running


@pytest.fixture
def unreachable_hub(monkeypatch, own_caches):
    """Address of a hub that refuses connections."""
    with serve() as gone:
        pass
    use_hub(monkeypatch, gone.address)
    return gone.address


def use_hub(monkeypatch, address):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
