"""Callbacks and loggers of Lightning and anomalib with models that are not trained."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest
from anomalib.callbacks import ModelCheckpoint as OfAnomalib
from anomalib.engine import Engine
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichModelSummary, Timer
from lightning.pytorch.loggers import CSVLogger

from dualclip_lightning import DualImageCLIP
from tests.commands import METRICS, TRAINED, Workplace, metrics_of
from tests.engine_runs import metal_nut
from tests.towers import TINY_CLIP, write_mvtec

CALLBACKS = {
    "EarlyStopping": lambda _: EarlyStopping("image_AUROC"),
    "LearningRateMonitor": lambda _: LearningRateMonitor(),
    "RichModelSummary": lambda _: RichModelSummary(),
    "Timer": lambda _: Timer(duration="00:01:00:00"),
    "anomalib's ModelCheckpoint": lambda folder: OfAnomalib(dirpath=folder / "own", filename="mine"),
    "one that monitors": lambda folder: OfAnomalib(dirpath=folder / "own", monitor="image_AUROC", mode="max"),
    "Lightning's ModelCheckpoint": lambda _: ModelCheckpoint(monitor="image_AUROC", mode="max"),
}


def method() -> DualImageCLIP:
    return DualImageCLIP(pretrained=str(TINY_CLIP), visualizer=False)


@pytest.fixture(scope="module")
def figures(mvtec_root, tmp_path_factory):
    engine = Engine(accelerator="cpu", default_root_dir=tmp_path_factory.mktemp("plain"), enable_progress_bar=False)
    return engine.test(method(), datamodule=metal_nut(mvtec_root))


@pytest.fixture
def engine(tmp_path):
    """Makes an Engine with a callback; a logger, because LearningRateMonitor asks for one."""

    def make(name: str) -> Engine:
        return Engine(
            accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False,
            callbacks=[CALLBACKS[name](tmp_path)], logger=CSVLogger(tmp_path / "logs"),
        )  # fmt: skip

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_changes_no_figure_and_a_checkpoint_is_left(name, engine, figures, mvtec_root, tmp_path):
    data = metal_nut(mvtec_root)
    engine(name).fit(method(), datamodule=data)
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert engine(name).test(method(), datamodule=data, ckpt_path=checkpoint) == figures
    assert engine(name).train(method(), datamodule=data) == figures


def test_a_metric_to_choose_a_checkpoint_by_is_told_not_to_be_there(engine, mvtec_root, tmp_path, caplog):
    running = engine("one that monitors")
    with caplog.at_level(logging.WARNING):
        running.fit(method(), datamodule=metal_nut(mvtec_root))
    assert "DualImageCLIP is not trained, so there is no image_AUROC to choose a checkpoint by." in caplog.text
    assert Path(running.best_model_path).parent == tmp_path / "own"
    assert running.checkpoint_callback.monitor == "image_AUROC"


def test_validate_says_why_it_measures_nothing(engine, mvtec_root, caplog):
    with caplog.at_level(logging.INFO):
        assert not any(engine("Timer").validate(method(), datamodule=metal_nut(mvtec_root)))
    assert "DualImageCLIP is not validated, because that would take thresholds from labels." in caplog.text


@pytest.mark.slow
def test_the_csv_logger_gets_the_figures_and_the_parameters(engine, figures, mvtec_root, tmp_path):
    engine("EarlyStopping").test(method(), datamodule=metal_nut(mvtec_root))
    (table,) = tmp_path.rglob("metrics.csv")
    last = pd.read_csv(table).iloc[-1]
    assert last[sorted(METRICS)].to_dict() == pytest.approx(figures[0], abs=1e-6)
    (parameters,) = tmp_path.rglob("hparams.yaml")
    assert "num_references: 1" in parameters.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Runs `anomalib test` with a logger and two callbacks; gives what it printed and the folder of the logger."""
    workplace = Workplace(tmp_path_factory.mktemp("workplace"))
    write_mvtec(workplace.folder / "datasets" / "MVTecAD", "bottle")

    def run(logger: str, *options: str) -> tuple[dict[str, float], Path]:
        model = "--model DualImageCLIP --model.visualizer false --data MVTecAD --data.num_workers 0"
        callbacks = "EarlyStopping --trainer.callbacks.monitor image_AUROC --trainer.callbacks+=LearningRateMonitor"
        logging = f"--trainer.logger {logger} --trainer.logger.save_dir {logger}"
        command = f"anomalib test {model} {logging} --trainer.callbacks+={callbacks}"
        return metrics_of(workplace.start(*command.split(), *TRAINED, *options)), workplace.folder / logger

    return run


GRAPH = ("--trainer.logger.log_graph", "true", "--logging.log_graph", "true")
"""Options that ask for a graph of the model, which is drawn in training only."""


@pytest.mark.slow
@pytest.mark.parametrize(("logger", "options"), [("TensorBoardLogger", GRAPH), ("AnomalibTensorBoardLogger", ())])
def test_tensorboard_gets_the_figures_and_the_parameters_and_asking_for_a_graph_does_no_harm(logged, logger, options):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    figures, folder = logged(logger, *options)
    assert set(figures) == METRICS
    events = accumulator.EventAccumulator(str(next(folder.rglob("events.out.*")).parent))
    events.Reload()
    assert {name: events.Scalars(name)[-1].value for name in METRICS} == pytest.approx(figures, abs=1e-6)
    (parameters,) = folder.rglob("hparams.yaml")
    assert "num_references: 1" in parameters.read_text(encoding="utf-8")
