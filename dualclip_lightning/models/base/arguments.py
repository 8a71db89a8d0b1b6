"""Arguments shared by all methods: their checks, and a signature that lists them in place of `**common`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from anomalib.metrics import Evaluator
from anomalib.visualization import Visualizer
from torch import nn

from dualclip_lightning.commandline.host import explain_refusals
from dualclip_lightning.prompts import Words, check_words, prompt_ensemble
from dualclip_lightning.prompts.ensemble import Domain

if TYPE_CHECKING:
    from typing_extensions import Self


class _Signature:
    """Descriptor for the signature of a class, but not of its instances, which are called with images."""

    def __get__(self, instance: object | None, owner: type) -> Signature:
        if instance is not None:
            raise AttributeError
        return constructor_signature(owner)


class NamedArguments:
    """Base of the shell, with which `inspect.signature` of a method lists the arguments behind `**common`.

    `help`, editors and the checks of argument names use this signature. jsonargparse resolves `**common` itself, but
    not into a class that defines `__new__`, so the shell inherits `__new__` from here.
    """

    __signature__ = _Signature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Create an instance; under anomalib's command, errors of the constructor or a run are printed as one line.

        Raises:
            TypeError: the method does not have an argument; the message names the closest one.
        """
        del args
        explain_refusals()
        check_argument_names(cls, kwargs)
        return super().__new__(cls)


def constructor_signature(owner: type) -> Signature:
    """Return the signature of a class whose constructors pass `**kwargs` on, with arguments of base classes first.

    If several classes declare an argument, the most derived one gives its default and type. `**kwargs` itself remains
    only if the last base class also accepts it.
    """
    return _constructor_signature(owner)


@cache  # plans of benchmarks ask for it once per cell
def _constructor_signature(owner: type) -> Signature:
    found: dict[str, Parameter] = {}
    rest: list[Parameter] = []
    for cls in owner.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = list(signature(vars(cls)["__init__"]).parameters.values())[1:]
        rest = [parameter for parameter in parameters if parameter.kind is Parameter.VAR_KEYWORD]
        found = {parameter.name: parameter for parameter in parameters if parameter not in rest} | found
        if not rest:
            break
    return Signature(sorted([*found.values(), *rest], key=lambda parameter: parameter.kind))


def check_argument_names(owner: type, given: Mapping[str, Any]) -> None:
    """Check that a method has the given arguments.

    Raises:
        TypeError: an argument is unknown; the message names the closest one.
    """
    known = signature(owner).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"Its arguments are {', '.join(known)}."
            msg = f"{owner.__name__} has no argument '{name}'. {hint}"
            raise TypeError(msg)


def check_prompts(
    class_name: str | None,
    words: Words,
    domain: Domain | None,
    states: Mapping[str, Sequence[str]] | None,
    templates: Sequence[str] | None,
) -> None:
    """Check the arguments of prompts before weights are loaded.

    Raises:
        ValueError: as in `prompt_ensemble` and `check_words`.
    """
    check_words(words)
    prompt_ensemble(class_name or "object", domain, states, templates)


def check_components(pre_processor: Any, post_processor: Any, evaluator: Any, visualizer: Any) -> None:
    """Check the components for anomalib before weights are loaded.

    Raises:
        ValueError: a component is neither true, false nor an object of its type.
    """
    chosen = {
        "pre_processor": (pre_processor, nn.Module, "a module"),
        "post_processor": (post_processor, nn.Module, "a module"),
        "evaluator": (evaluator, Evaluator, "an Evaluator"),
        "visualizer": (visualizer, Visualizer, "a Visualizer"),
    }
    for name, (value, kind, called) in chosen.items():
        if not isinstance(value, bool | kind):
            msg = f"Expected {name} to be True, False or {called}, but got {value!r}."
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments
