from __future__ import annotations

import logging
import sys
import warnings

import pytest

from dualclip_lightning.commandline import host


@pytest.fixture(autouse=True)
def _logging_and_warnings_stay_as_they_are():
    loggers = [logging.getLogger(name) for name in ("", host.ENGINE, host.UNASKED, *host.SPOKEN, *host.NOISY)]
    before = [(logger, logger.level, list(logger.handlers), list(logger.filters)) for logger in loggers]
    with warnings.catch_warnings():
        yield
    for logger, level, handlers, filters in before:
        logger.setLevel(level)
        logger.handlers[:], logger.filters[:] = handlers, filters


@pytest.mark.parametrize(("model", "said"), [("DualImageCLIP", False), ("Patchcore", True)])
@pytest.mark.parametrize("command", ["dualclip", "anomalib"])
def test_a_missing_checkpoint_is_reported_for_models_that_need_one(monkeypatch, caplog, command, model, said):
    monkeypatch.setattr(sys, "argv", [command, "predict", "--model", model, "--data", "shots"])
    host.print_once()
    logging.getLogger(host.ENGINE).warning("ckpt_path is not provided. Model weights will not be loaded.")
    logging.getLogger(host.ENGINE).warning("Something else.")
    assert ("ckpt_path" in caplog.text) == said
    assert "Something else." in caplog.text


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("model:\n  class_path: dualclip_lightning.models.MuSc\n", True), ("model: MuSc", True),
        ('{"model": {"class_path": "MuSc"}}', True), ("model: {'class_path': 'MuSc'}", True),
        ("model:\n  class_path: Patchcore  # not MuSc\n", False), ("note: MuSc", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--config {}", "-c {}", "--config={}"])
def test_a_model_of_ours_is_seen_in_a_configuration_file(content, ours, option, monkeypatch, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(content)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/anomalib", "test", *option.format(file).split()])
    assert host.is_ours() == ours


def test_a_configuration_file_that_is_not_there_is_none_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["anomalib", "test", "--config", str(tmp_path / "MuSc.yaml")])
    assert not host.is_ours()


def test_the_engine_still_reports_what_is_left_out():
    from pathlib import Path

    from anomalib.engine import engine

    assert engine.logger.name == host.ENGINE
    assert all(beginning in Path(engine.__file__).read_text(encoding="utf-8") for beginning in host.UNFITTING)


def test_only_our_sentence_of_the_output_of_jsonargparse_is_printed():
    from anomalib.data import AnomalibDataModule
    from jsonargparse import ArgumentParser
    from torch.utils.data import DataLoader, Dataset

    parser = ArgumentParser()
    parser.add_argument("--data", type=Dataset | AnomalibDataModule | DataLoader | str)
    data = parser.parse_args(["--data", "dualclip_lightning.data.Demo", "--data.category", "nosuch"])
    with pytest.raises(ValueError, match="nosuch") as told:
        parser.instantiate_classes(data)
    sentence = host.sentence_of(told.value)
    assert sentence.startswith("The demo has no category 'nosuch'. Expected one of ")
    assert sentence.endswith("spindle.")
