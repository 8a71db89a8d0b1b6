"""The options of `dualclip serve`, and the detector that they give."""

from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.predict import Detector
from dualclip_lightning.serving.command import bind, build
from dualclip_lightning.serving.options import is_loopback, main, parse


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("DUALCLIP_TOKEN", raising=False)


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_service_is_for_this_machine_unless_told_otherwise(capsys, monkeypatch):
    assert parse([]).host == "127.0.0.1"
    assert "Others can reach 10.0.0.1" in refused(capsys, "--host", "10.0.0.1")
    assert parse(["--host", "10.0.0.1", "--no-token"]).token is None
    assert parse(["--host", "::", "--token", "abc"]).token == "abc"  # noqa: S105
    monkeypatch.setenv("DUALCLIP_TOKEN", "from the environment")
    assert parse(["--host", "10.0.0.1"]).token == "from the environment"  # noqa: S105
    assert "--no-token excludes" in refused(capsys, "--no-token")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("::", False),
     ("192.168.0.7", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_only_addresses_of_this_machine_are_loopback(host, loopback):
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        ([], {"localhost", "127.0.0.1", "::1"}),
        (["--host", "127.0.0.2"], {"localhost", "127.0.0.1", "::1", "127.0.0.2"}),
        (["--allow-host", "Plates.example.com"], {"localhost", "127.0.0.1", "::1", "plates.example.com"}),
        (["--token", "abc"], None),
        (["--token", "abc", "--allow-host", "a", "--allow-host", "[FE80::1]"],
         {"localhost", "127.0.0.1", "::1", "a", "fe80::1"}),
        (["--host", "0.0.0.0", "--no-token"], None),  # noqa: S104
    ],
)  # fmt: skip
def test_a_service_without_a_token_answers_only_under_names_of_loopback(arguments, hosts):
    assert parse(arguments).hosts == hosts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threshold", "auto"], "needs images that are known before the first request"),
        (["--max-images", "9", "--queue", "8"], "at least 9 images"),
        (["--port", "70000"], "from 0 to 65535"),
        (["--compare-with", "pairs"], "Unknown option --compare-with"),
        (["--spatial-window", "0.1"], "--spatial-window goes with references"),
        (["--token", "ä"], "printable ASCII"),
        (["--allow-host", "example.com:80"], "without a port"),
        (["--bundle", "missing.dualclip"], "There is no bundle 'missing.dualclip'"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_one_line(capsys, arguments, words):
    assert words.lower() in refused(capsys, *arguments).lower()


def test_options_give_a_detector_with_the_references_of_the_folder(tmp_path, tiny_folder):
    from tests.towers import write_image

    for i in range(2):
        write_image(tmp_path / f"{i}.png", seed=i)
    model = ["--pretrained", str(tiny_folder), "--device", "cpu", "--class-name", "plate"]
    detector = build(parse([*model, "--reference-dir", str(tmp_path), "--threshold", "0.3"]))
    assert (detector.mode, len(detector.reference_names), detector.threshold.score) == ("folder", 2, 0.3)
    detector = build(parse(model))
    assert (detector.mode, detector.threshold) == ("none", None)


def test_a_bundle_gives_its_references_and_threshold(tmp_path, tiny_folder, capsys):
    good = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    made = Detector("plate", pretrained=str(tiny_folder), reference_dir=list(good[:2]), device="cpu")
    made.calibrate(good[2:])
    made.save(tmp_path / "plate.dualclip")
    detector = build(parse(["--bundle", str(tmp_path / "plate.dualclip"), "--device", "cpu", "--batch-size", "3"]))
    assert detector.reference_names == made.reference_names
    assert (detector.threshold.score, detector.batch_size) == (made.threshold.score, 3)
    bundle = ("--bundle", str(tmp_path / "plate.dualclip"))
    assert "--threshold contradicts the bundle" in refused(capsys, *bundle, "--threshold", "0.5")


def test_a_bundle_of_pairs_is_refused_in_one_line(tmp_path, tiny_folder, capsys):
    path = tmp_path / "pairs.dualclip"
    Detector("plate", pretrained=str(tiny_folder), threshold=0.5, device="cpu").save(path)
    assert main(["--bundle", str(path), "--device", "cpu", "--port", "0"]) == 2
    assert "not pairs or a stream" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(
        "dualclip_lightning.utilities.extras.find_spec", lambda name: None if name == "uvicorn" else name
    )
    assert main([]) == 2
    line = 'The service needs uvicorn. Run `pip install "dualclip_lightning[serve]"`.'
    assert capsys.readouterr().err == f"dualclip: {line}\n"


def test_a_port_that_is_taken_is_refused():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(ValueError, match=r"Cannot listen on 127\.0\.0\.1, port \d+ .*Choose another"):
            bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ValueError, match="Cannot listen on no such host"):
        bind("no such host", 0)
