"""`dualclip doctor` on a working installation, and on ones in which one thing is broken."""

from __future__ import annotations

import json
import socket
from importlib import metadata

import pytest
import torch

from dualclip_lightning import cli
from dualclip_lightning.doctor import command, environment, installation, selftest
from dualclip_lightning.doctor.finding import Finding, examine
from dualclip_lightning.utilities.files import file_digest
from dualclip_lightning.weights.sources import WeightsSource


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        pytest.fail("The doctor used the network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def states(findings) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.state, []).append(finding.subject)
    return found


@pytest.mark.slow
def test_a_working_installation_has_status_0_without_a_network(embedded_model, no_network, capsys):
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert f"ok       dualclip_lightning {metadata.version('dualclip_lightning')}" in printed
    assert "self-test on cpu   score" in printed
    assert printed.endswith("Everything that the commands need works.\n")
    assert "problem" not in printed


@pytest.mark.slow
def test_json_has_the_same_facts_as_data(embedded_model, capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["state"] == "ok"
    facts = {each["subject"]: each["facts"] for each in report["findings"]}
    assert facts["packages"]["torch"] == metadata.version("torch")
    assert facts["device cpu"]["threads"] == torch.get_num_threads()
    assert facts["self-test on cpu"]["score"] == pytest.approx(selftest.SCORE, abs=1e-3)
    weights = [each for each in report["findings"] if each["subject"] == "weights"]
    assert weights[0]["facts"]["sha256"] == file_digest(installation.DEMO_MODEL / "open_clip_model.safetensors")


def test_the_recorded_score_is_that_of_the_demo_model(embedded_model):
    """If this fails after the demo model was trained again, set SCORE and WEIGHTS to what `dualclip doctor` reports."""
    finding = next(selftest.check_selftest())
    assert finding.state == "ok", finding.text
    assert finding.facts["weights_sha256"] == selftest.WEIGHTS
    assert finding.facts["score"] == pytest.approx(selftest.SCORE, abs=1e-3)


def test_another_score_is_a_problem_and_other_weights_are_noted(embedded_model, monkeypatch):
    monkeypatch.setattr(selftest, "SCORE", selftest.SCORE + 0.02)
    finding = next(selftest.check_selftest())
    assert finding.state == "problem"
    assert f"should be {selftest.SCORE:.4f}" in finding.text
    assert "Compare the versions" in finding.remedy
    monkeypatch.setattr(selftest, "WEIGHTS", "0" * 64)
    assert next(selftest.check_selftest()).state == "note"


@pytest.mark.parametrize("error", [ImportError("libcudart.so.12: cannot open\nmore"), SystemExit(3), KeyError("x")])
def test_a_check_that_fails_is_a_problem_and_the_others_still_run(error, monkeypatch, capsys):
    def broken():
        yield Finding("first", "ok", "fine")
        raise error

    checks = {"broken": broken, "python": environment.check_python}
    monkeypatch.setattr(command, "CHECKS", checks)
    assert command.main([]) == command.PROBLEMS
    printed = capsys.readouterr().out
    assert "ok       first" in printed
    assert f"problem  broken             The check failed ({type(error).__name__}: " in printed
    assert "more" not in printed.partition("The check failed")[2].splitlines()[0]
    assert "ok       python" in printed
    assert "1 problem found." in printed
    assert command.main(["--json"]) == command.PROBLEMS
    assert json.loads(capsys.readouterr().out)["state"] == "problem"


def test_an_interrupt_is_not_taken_for_a_finding():
    def interrupted():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(examine("x", interrupted))


def test_a_library_that_cannot_be_imported_is_named_with_the_package_to_reinstall(tmp_path, monkeypatch):
    (tmp_path / "broken_cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(environment, "IMPORTED", {"json": "json", "broken_cv2": "opencv-python-headless"})
    (finding,) = environment.check_imports()
    assert finding.state == "problem"
    assert finding.text == ("broken_cv2 cannot be imported (ImportError: libGL.so.1: cannot open shared object file).")
    assert finding.remedy == "pip install --force-reinstall --no-deps opencv-python-headless"


REQUIRES = ["numpy>=1.24", "anomalib<2.0", "no-such-package>=3", 'ray>=2; extra == "ray"',
            'absent-too>=1; extra == "export"', 'pytest; extra == "test"',
            'other; sys_platform == "nowhere"']  # fmt: skip


def test_missing_and_unsuitable_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(environment, "requires", {"dualclip_lightning": REQUIRES}.get)
    old, missing, rest = environment.check_packages()
    assert old.text == f"anomalib is {metadata.version('anomalib')}, and anomalib<2.0 is needed."
    assert old.remedy == 'pip install "anomalib<2.0"'
    assert missing.text == "no-such-package is not installed, and no-such-package>=3 is needed."
    assert rest.state == "ok"
    assert rest.facts.keys() == {"numpy", "anomalib", "no-such-package"}


def test_a_missing_extra_is_noted_with_the_command_and_is_no_problem(monkeypatch):
    monkeypatch.setattr(environment, "requires", {"dualclip_lightning": REQUIRES}.get)
    monkeypatch.setattr(environment, "_installed", {"ray": "2.10"}.get)
    missing, there = environment.check_extras()
    assert (missing.subject, missing.state) == ("extra export", "note")
    assert missing.remedy == 'To use it: pip install "dualclip_lightning[export]"'
    assert (there.subject, there.state, there.text) == ("extra ray", "ok", "ray 2.10")


def test_the_extras_are_those_of_the_package():
    assert {"export", "ray"} <= environment._extras().keys()
    assert not {"dev", "test"} & environment._extras().keys()


def test_the_cache_is_counted_and_a_cache_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path / "cache"))
    (finding,) = installation.check_cache()
    assert "not created yet" in finding.text
    (tmp_path / "cache" / "texts").mkdir(parents=True)
    (tmp_path / "cache" / "texts" / "a").write_bytes(bytes(2**20))
    (finding,) = installation.check_cache()
    assert "1 files, 1.0 MiB" in finding.text
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path / "file"))
    (finding,) = installation.check_cache()
    assert (finding.state, "DUALCLIP_CACHE" in finding.remedy) == ("problem", True)


@pytest.fixture
def one_url(tmp_path, monkeypatch):
    """Path of the only weights in the table, whose address states the digest of the text "weights"."""
    digest = "9ac8f3f4"
    source = WeightsSource(url=f"https://example.invalid/vit-{digest}.pt")
    path = tmp_path / source.file_name
    monkeypatch.setattr(installation, "_sources", lambda: [("ViT-B-16 tag", source)])
    monkeypatch.setattr("dualclip_lightning.weights.fetching.url_path", lambda _: path)
    return path


def test_weights_that_are_there_are_listed_with_their_digest_and_damaged_ones_are_a_problem(one_url, monkeypatch):
    (finding,) = installation.check_weights()
    assert finding.state == "note"
    one_url.write_bytes(b"damaged")
    (finding,) = installation.check_weights()
    assert finding.state == "problem"
    assert str(one_url) in finding.text
    monkeypatch.setattr("dualclip_lightning.weights.fetching._is_whole", lambda *_: True)
    (finding,) = installation.check_weights()
    assert finding.state == "ok"
    assert finding.facts["sha256"] == file_digest(one_url)


def test_a_missing_demo_model_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "DEMO_MODEL", tmp_path)
    (finding,) = installation.check_demo_model()
    assert finding.state == "problem"
    assert finding.remedy.startswith("Reinstall the package")


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [("DUALCLIP_NO_PLUGIN", "1", "note"), ("TORCH_DEVICE_BACKEND_AUTOLOAD", "0", "note"), ("HOME", "/", "ok")],
)
def test_a_plug_in_that_is_switched_off_is_noted_with_the_switch(name, value, state, monkeypatch):
    for switch in ("DUALCLIP_NO_PLUGIN", "TORCH_DEVICE_BACKEND_AUTOLOAD"):
        monkeypatch.delenv(switch, raising=False)
    monkeypatch.setenv(name, value)
    (finding,) = installation.check_plugin()
    assert finding.state == state
    assert state == "ok" or f"{name}={value}" in finding.text


def test_models_that_anomalib_does_not_know_are_a_problem(monkeypatch):
    monkeypatch.delenv("DUALCLIP_NO_PLUGIN", raising=False)
    monkeypatch.delenv("TORCH_DEVICE_BACKEND_AUTOLOAD", raising=False)
    monkeypatch.setattr(installation, "MODELS", {"NoSuchModel": "nowhere"})
    (finding,) = installation.check_plugin()
    assert finding.state == "problem"
    assert "anomalib does not know NoSuchModel" in finding.text


def test_wrong_use_has_status_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--xml"])
