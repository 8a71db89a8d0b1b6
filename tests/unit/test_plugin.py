from __future__ import annotations

import logging
import sys
import threading
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points

import pytest

from dualclip_lightning import plugin

LAST_LINE = "finished = True"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Function that writes the body of a stand-in for anomalib, which the plug-in watches instead."""
    for name in [name for name in sys.modules if name.split(".")[0] == "hostpkg"]:
        monkeypatch.delitem(sys.modules, name)
    models = tmp_path / "hostpkg" / "models"
    models.mkdir(parents=True)
    (tmp_path / "hostpkg" / "__init__.py").touch()
    (models / "video.py").write_text("part = 'video'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, plugin._PostImportFinder)])
    monkeypatch.setattr(plugin, "_HOST", "hostpkg.models")
    monkeypatch.setattr(plugin, "_LAST_PART_OF_HOST", "hostpkg.models.video")
    monkeypatch.delenv(plugin.OFF_SWITCH, raising=False)

    def write(*lines: str) -> None:
        (models / "__init__.py").write_text("\n".join([*lines, "from . import video", LAST_LINE]))

    write()
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "hostpkg"]:
        del sys.modules[name]


@pytest.fixture
def registered(monkeypatch):
    """List with one entry per registration: the parts of the host that existed at that time."""
    calls = []

    def register():
        models = sys.modules["hostpkg.models"]
        calls.append({"finished": hasattr(models, "finished"), "video": hasattr(models, "video")})

    monkeypatch.setattr("dualclip_lightning.registry.register", register)
    return calls


def finders() -> list:
    return [finder for finder in sys.meta_path if isinstance(finder, plugin._PostImportFinder)]


def test_registers_once_the_host_has_been_executed(host, registered):
    plugin.autoload()
    assert registered == []
    models = import_module("hostpkg.models")
    assert registered == [{"finished": True, "video": True}]
    assert models.finished


def test_leaves_no_trace_on_the_host_or_on_the_import_system(host, registered):
    plugin.autoload()
    models = import_module("hostpkg.models")
    assert finders() == []
    assert type(models.__spec__.loader) is SourceFileLoader
    assert type(models.__loader__) is SourceFileLoader


def test_registers_when_the_host_is_what_imports_torch(host, registered):
    host("from dualclip_lightning.plugin import autoload", "autoload()")  # as `import torch` in its body would
    import_module("hostpkg.models")
    assert len(registered) == 1
    assert finders() == []


def test_registers_at_once_when_the_host_was_already_imported(host, registered):
    import_module("hostpkg.models")
    plugin.autoload()
    assert registered == [{"finished": True, "video": True}]
    assert finders() == []


def test_autoload_twice_registers_once(host, registered):
    plugin.autoload()
    plugin.autoload()
    import_module("hostpkg.models")
    assert len(registered) == 1
    assert finders() == []


def test_registers_once_when_many_threads_import_the_host(host, registered):
    plugin.autoload()
    threads = [threading.Thread(target=import_module, args=("hostpkg.models",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registered) == 1
    assert finders() == []


def test_other_modules_are_not_affected(host, registered):
    plugin.autoload()
    (finder,) = finders()
    assert finder.find_spec("json.tool") is None
    import_module("hostpkg")
    assert registered == []


def test_a_host_that_fails_to_import_fails_as_without_the_plugin_and_can_be_imported_again(host, registered):
    host("raise RuntimeError('the host is broken')")
    plugin.autoload()
    with pytest.raises(RuntimeError, match="the host is broken"):
        import_module("hostpkg.models")
    assert registered == []
    host("repaired = True")
    assert import_module("hostpkg.models").repaired
    assert len(registered) == 1


def test_a_host_that_is_not_installed_is_no_error(host, registered, monkeypatch):
    monkeypatch.setattr(plugin, "_HOST", "hostpkg.absent")
    plugin.autoload()
    with pytest.raises(ModuleNotFoundError, match=r"hostpkg\.absent"):
        import_module("hostpkg.absent")


@pytest.mark.filterwarnings("error")
def test_the_host_is_imported_even_if_registration_fails_and_this_is_reported_once(host, monkeypatch, caplog):
    def register():
        message = "no such file"
        raise OSError(message)

    monkeypatch.setattr("dualclip_lightning.registry.register", register)
    plugin.autoload()
    with caplog.at_level(logging.WARNING):
        assert import_module("hostpkg.models").finished
    (record,) = caplog.records
    assert "could not add its models to anomalib (OSError: no such file)" in record.getMessage()
    assert "DUALCLIP_NO_PLUGIN=1" in record.getMessage()
    assert finders() == []


def test_autoload_never_raises(host, monkeypatch, caplog):
    monkeypatch.setattr(sys, "meta_path", None)  # makes any hook fail
    plugin.autoload()
    monkeypatch.undo()
    assert "could not add its models" in caplog.text


@pytest.mark.parametrize(("value", "hooked"), [("1", False), ("true", False), ("0", True), ("", True)])
def test_the_environment_variable_switches_it_off(host, monkeypatch, value, hooked):
    monkeypatch.setenv(plugin.OFF_SWITCH, value)
    plugin.autoload()
    assert bool(finders()) is hooked


def test_the_entry_point_for_torch_names_the_plugin():
    (entry,) = entry_points(group="torch.backends", name="dualclip_lightning")
    assert entry.load() is plugin.autoload
