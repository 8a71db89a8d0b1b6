"""anomalib's commands in sequence, by options, by the configuration they print, and by the files of this repository.

All commands are run with two models: one is chosen by options, the other by the configuration that a command prints
when it is given options. With the others, `test` is run by their file, which states every argument, and
`test_models_as_anomalib_tests_them` makes the Engine's calls that the other commands make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.models import get_model

from dualclip_lightning.registry import MODELS, register
from tests.commands import METRICS, TRAINED, Workplace, metrics_of, printed
from tests.engine_runs import Record
from tests.forked import Ended
from tests.towers import TINY_CLIP, write_mvtec

pytestmark = pytest.mark.slow

register()
EXPORTED = {"ClipZeroShot"}
"""Models with all commands that are functions of one image with their defaults."""
DATA = ("--data", "MVTecAD", "--data.num_workers", "0")
PREDICT = (*DATA, "--trainer.callbacks", "tests.callbacks.WriteScores")
LESS_WORK = {"AnoCLIP": {"views": False, "steps": 1}}
"""Arguments with which a model takes less time."""
BY_OPTIONS, BY_CONFIGURATION = ("DualImageCLIP", "options"), ("ClipZeroShot", "configuration")
BY_FILE = [(name, "file") for name in sorted(MODELS) if name not in {BY_OPTIONS[0], BY_CONFIGURATION[0]}]
CASES = [BY_OPTIONS, BY_CONFIGURATION, *BY_FILE]
FILES = Path(__file__).parents[2] / "configs" / "model"
with_all_commands = pytest.mark.parametrize("case", [BY_OPTIONS, BY_CONFIGURATION], ids="-".join, indirect=True)

Run = Callable[..., Ended]


class Expected(NamedTuple):
    """What the Engine finds in a test."""

    figures: dict[str, float]
    scores: dict[str, float]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workplace")
    write_mvtec(folder / "datasets" / "MVTecAD", "bottle")
    return Workplace(folder)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case):
    return case[0]


@pytest.fixture(scope="module")
def expected(model, workplace, tmp_path_factory):
    record = Record()
    engine = Engine(accelerator="cpu", default_root_dir=tmp_path_factory.mktemp("engine"), callbacks=[record],
                    enable_progress_bar=False)  # fmt: skip
    data = MVTecAD(root=workplace.folder / "datasets" / "MVTecAD", num_workers=0)
    arguments = {"pretrained": str(TINY_CLIP), "visualizer": False, **LESS_WORK.get(model, {})}
    (figures,) = engine.test(get_model(model, **arguments), datamodule=data)
    return Expected(figures, record.scores)


@pytest.fixture(scope="module")
def chosen(model, case) -> tuple[str, ...]:
    """Options that choose the model, by name or by its file, and its arguments."""
    own = [part for name, value in LESS_WORK.get(model, {}).items() for part in (f"--model.{name}", str(value).lower())]
    file = str(FILES / f"{MODELS[model].rpartition('.')[2]}.yaml")
    choice = ("--config", file) if case[1] == "file" else ("--model", model)
    return (*choice, *TRAINED, *own, "--model.visualizer", "false", "--trainer.accelerator", "cpu")


@pytest.fixture(scope="module")
def by_options(chosen, workplace) -> Run:
    """Runs one of anomalib's commands with the model; the commands are forks, which have imported everything."""

    def run(command: str, *arguments: object) -> Ended:
        return workplace.start("anomalib", command, *chosen, *map(str, arguments))

    return run


@pytest.fixture(scope="module")
def by_configuration(workplace, by_options) -> Run:
    """The same by the configuration that the command prints when it is given the options."""

    def run(command: str, *arguments: object) -> Ended:
        text = by_options(command, *arguments, "--print_config").out
        assert yaml.safe_load(text)["model"]["init_args"]["pretrained"] == str(TINY_CLIP)
        (workplace.folder / f"{command}.yaml").write_text(text, encoding="utf-8")
        return workplace.start("anomalib", command, "--config", f"{command}.yaml")

    return run


@pytest.fixture(scope="module")
def run(case, by_options, by_configuration) -> Run:
    return by_configuration if case[1] == "configuration" else by_options


@pytest.fixture(scope="module")
def checkpoint(run, model, workplace):
    """What `fit` leaves."""
    latest = workplace.folder / "results" / model / "MVTecAD" / "bottle" / "latest"
    before = latest.resolve()
    printed(run("fit", *DATA))
    assert latest.resolve() != before
    return latest.resolve() / "weights" / "lightning" / "model.ckpt"


@with_all_commands
def test_fit_leaves_a_small_checkpoint(checkpoint):
    assert 0 < checkpoint.stat().st_size < 1e5


@with_all_commands
def test_test_from_a_checkpoint_prints_the_figures_of_the_engine(run, checkpoint, expected):
    figures = metrics_of(run("test", *DATA, "--ckpt_path", checkpoint))
    assert figures == pytest.approx(expected.figures, abs=1e-5)
    assert set(figures) == METRICS


def test_test_without_a_checkpoint_prints_the_figures_of_the_engine(run, expected):
    assert metrics_of(run("test", *DATA)) == pytest.approx(expected.figures, abs=1e-5)


@pytest.mark.parametrize("case", [BY_OPTIONS], ids="-".join, indirect=True)
def test_train_prints_the_same(run, expected):
    assert metrics_of(run("train", *DATA)) == pytest.approx(expected.figures, abs=1e-5)


@with_all_commands
def test_predict_gives_a_users_callback_the_scores_of_the_engine(run, case, checkpoint, expected, workplace):
    with_checkpoint = case == BY_CONFIGURATION
    file = workplace.folder / "scores.json"
    file.unlink(missing_ok=True)
    printed(run("predict", *PREDICT, *(["--ckpt_path", checkpoint] if with_checkpoint else [])))
    assert json.loads(file.read_text()) == pytest.approx(expected.scores, abs=1e-5)


@pytest.mark.parametrize("case", [BY_CONFIGURATION], ids="-".join, indirect=True)
def test_validate_measures_nothing(run, checkpoint):
    assert not metrics_of(run("validate", *DATA, "--ckpt_path", checkpoint))


@with_all_commands
def test_export_writes_a_file_or_says_why_not(run, model, checkpoint, workplace):
    place = workplace.folder / "exported"
    ended = run("export", "--export_type", "torch", "--ckpt_path", checkpoint, "--export_root", place)
    if model in EXPORTED:
        printed(ended)
        (file,) = place.rglob("*.pt")
        assert "model" in torch.load(file, weights_only=False)
        file.unlink()
    else:
        assert ended.status != 0
        assert ended.err.splitlines()[-1].startswith(f"dualclip: {model} cannot be exported with these settings: ")
        assert not list(place.rglob("*.pt"))


@pytest.mark.parametrize("case", [BY_CONFIGURATION], ids="-".join, indirect=True)
@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("fit", "config.yaml"), ("test --ckpt_path {}", "provenance.json"),
        ("export --export_type torch --export_root installed --ckpt_path {}", "model.pt"),
    ],
)  # fmt: skip
def test_the_installed_commands_end_well_and_print_each_note_once(
    command, written, model, checkpoint, expected, workplace
):
    before = files(workplace)
    data = () if command.startswith("export") else DATA
    ended = workplace.start_prepared("anomalib", *command.format(checkpoint).split(), "--model", model, *TRAINED, *data)
    figures = metrics_of(ended)
    assert figures == pytest.approx(expected.figures if command.startswith("test") else {}, abs=1e-5)
    assert printed(ended).count("Loading the callbacks") == 1
    assert written in {path.name for path, _ in files(workplace) - before}


def files(workplace: Workplace) -> set[tuple[Path, int]]:
    """Every file with the time at which it was written."""
    return {(path, path.stat().st_mtime_ns) for path in workplace.folder.rglob("*") if path.is_file()}
