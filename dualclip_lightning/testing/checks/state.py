"""Checks of what a run leaves behind: unchanged weights, a record, and a checkpoint from which it can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import SkipTest

import torch
from anomalib import LearningType

from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.base.provenance import plain
from dualclip_lightning.models.base.run_folder import RECORD
from dualclip_lightning.testing.runs import new_engine, require, require_same
from dualclip_lightning.testing.subject import CATEGORY, Subject, weights


def a_test_changes_no_weight(subject: Subject) -> None:
    """Parameters and saved buffers of the torch module, and the whole backbone, are the same after a test."""
    before, after = subject.twin.weights, weights(subject.twin.method)
    changed = [name for name, value in before.items() if name not in after or not torch.equal(value, after[name])]
    require(not changed, f"A test changes {len(changed)} weight(s), such as {changed[:1]}.")


def the_backbone_is_frozen(subject: Subject) -> None:
    """The backbone takes no gradients; a method that is not trained has no other parameters that do."""
    subject.require_ours()
    method = subject.used
    backbone = method.backbone.clip.named_parameters()
    loose = [name for name, each in backbone if each.requires_grad or each.grad is not None]
    require(not loose, f"{len(loose)} parameter(s) of the backbone take gradients, such as {loose[:1]}.")
    if Kind.AUXILIARY not in method.kind:
        free = [name for name, each in method.named_parameters() if each.requires_grad]
        require(not free, f"{len(free)} parameter(s) of an untrained method take gradients, such as {free[:1]}.")


def the_state_holds_no_frozen_weights(subject: Subject) -> None:
    """`state_dict` omits frozen parameters, so that checkpoints stay small."""
    subject.require_ours()
    method = subject.build()
    state = method.state_dict().keys()
    kept = [name for name, each in method.named_parameters() if not each.requires_grad and name in state]
    require(not kept, f"state_dict holds {len(kept)} frozen parameter(s), such as {kept[:1]}.")


def a_checkpoint_gives_the_same_scores(subject: Subject) -> None:
    """A method that is loaded from its checkpoint gives the same scores, so that all arguments are restored."""
    path = subject.folder / "saved.ckpt"
    subject.used.trainer.save_checkpoint(path)
    loaded = subject.prepared(subject.method_class.load_from_checkpoint(path))
    require_same(subject.run(loaded), subject.expected, "Loaded from a checkpoint")


def fit_leaves_a_checkpoint(subject: Subject) -> None:
    """`Engine.fit` of a zero-shot method leaves a checkpoint from which a test continues with the same scores."""
    subject.require_ours()
    if subject.used.learning_type is not LearningType.ZERO_SHOT:
        raise SkipTest("The method is trained, on data that this check does not have.")
    engine = new_engine(subject.folder)
    engine.fit(subject.make(), datamodule=subject.data())
    path = Path(engine.best_model_path or "none")
    require(path.is_file(), "Engine.fit leaves no checkpoint.")
    found = subject.run(subject.make(), datamodule=subject.data(), ckpt_path=path)
    require_same(found, subject.expected, "From the checkpoint of fit")


def a_run_records_what_determined_it(subject: Subject) -> None:
    """`provenance.json` next to the results names the method, its kind, weights, class, arguments and versions."""
    subject.require_ours()
    method = subject.used
    path = Path(method.trainer.default_root_dir) / RECORD
    require(path.is_file(), f"A test writes no {RECORD}.")
    record = json.loads(path.read_text(encoding="utf-8"))
    expected = {"method": type(method).__name__, "kind": str(method.kind), "weights_sha256": method.backbone.digest,
                "class_name": method.described_class}  # fmt: skip
    wrong = [name for name, value in expected.items() if record.get(name) != value]
    require(not wrong, f"{RECORD} states another {' and '.join(wrong)} than the method has.")
    for name, value in record["parameters"].items():
        given = plain(method.hparams.get(name))
        require(value == given or name == "backbone", f"{RECORD} states {name}={value!r}, but it was {given!r}.")
    require("seed" in record["parameters"], f"{RECORD} omits the seed.")
    require({"anomalib", "torch", "open_clip_torch"} <= record.get("versions", {}).keys(), f"{RECORD} omits versions.")


def its_own_metrics_are_computed(subject: Subject) -> None:
    """A test with the evaluator of the method gives metrics in [0, 1]."""
    subject.require_ours()
    method = subject.make()
    method.evaluator = method.configure_evaluator()
    (figures,) = new_engine(subject.folder).test(method, datamodule=subject.data(), verbose=False)
    require(bool(figures), "A test gives no metrics.")
    wrong = {name: value for name, value in figures.items() if not 0 <= value <= 1}
    require(not wrong, f"Metrics are outside [0, 1]: {wrong}.")


def the_class_name_is_honoured(subject: Subject) -> None:
    """Prompts describe the class that was given, otherwise the category of the data."""
    subject.require_ours()
    if not subject.accepts("class_name"):
        raise SkipTest("The function takes no class_name.")
    for given, accepted in (("metal_nut", {"metal_nut"}), (None, {"metal nut", "metal_nut"})):
        method = subject.make(class_name=given)
        method.class_name = given  # where none is given, `make` sets one
        subject.run(method)
        found, told = method.described_class, f"With class_name={given!r} and the category '{CATEGORY}'"
        require(found in accepted, f"{told}, prompts describe {found!r}.")
        fresh = subject.make()
        fresh.set_class_name(found)
        anchors = [getattr(each.model, "anchors", torch.empty(0)) for each in (method, fresh)]
        require(torch.equal(*anchors), f"{told}, the text anchors are not those of {found!r}.")
