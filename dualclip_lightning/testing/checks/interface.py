"""Checks of a method's interface: what anomalib and this package rely on before a run."""

from __future__ import annotations

from anomalib import LearningType

from dualclip_lightning.models.base import Kind
from dualclip_lightning.testing.runs import require
from dualclip_lightning.testing.subject import Subject

UNKNOWN = "no_such_argument"
BAD = {"class_name": "__", "image_size": -1, "drawing": "no such drawing"}
"""Values that no method accepts for the arguments of the shell."""


def is_a_method_of_anomalib(subject: Subject) -> None:
    """The method is an AnomalibModule that states how it learns and how it is trained."""
    method = subject.build()
    name = type(method).__name__
    require(isinstance(method.learning_type, LearningType), f"{name}.learning_type is not a LearningType of anomalib.")
    require(isinstance(method.trainer_arguments, dict), f"{name}.trainer_arguments is not a dictionary.")


def says_what_a_score_depends_on(subject: Subject) -> None:
    """`kind` is a Kind, for the class and for each object."""
    subject.require_ours()
    for owner in (subject.method_class, subject.build()):
        kind = getattr(owner, "kind", None)
        name = subject.method_class.__name__
        require(isinstance(kind, Kind), f"{name}.kind is {kind!r}. Set it to a value of Kind, such as Kind.INDUCTIVE.")


def an_unknown_argument_is_refused_by_name(subject: Subject) -> None:
    """An argument that the method does not have is an error that names it."""
    _require_refusal(subject, UNKNOWN, 1)


def a_bad_argument_is_refused_by_name(subject: Subject) -> None:
    """Shared arguments that cannot be used are errors that name them, also if the method passes them on."""
    subject.require_ours()
    for name, value in BAD.items():
        if subject.accepts(name):
            _require_refusal(subject, name, value)


def validation_reads_no_labels(subject: Subject) -> None:
    """There is no validation, because thresholds would be taken from labels."""
    subject.require_ours()
    method = subject.build()
    limit = method.trainer_arguments.get("limit_val_batches")
    require(limit == 0, f"trainer_arguments has limit_val_batches {limit!r} instead of 0.")
    require(not list(method.val_dataloader()), "val_dataloader gives batches, whose labels would be read.")


def _require_refusal(subject: Subject, name: str, value: object) -> None:
    try:
        subject.build(**{name: value})
    except (TypeError, ValueError) as error:
        words = str(error).replace("_", " ")
        named = name.replace("_", " ") in words or str(value) in str(error)
        require(named, f"The error for {name}={value!r} does not name the argument: {error}")
        return
    message = f"{name}={value!r} is accepted. Raise a TypeError or ValueError that names the argument."
    raise AssertionError(message)
