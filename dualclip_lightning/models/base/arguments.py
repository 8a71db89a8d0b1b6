"""Arguments that every method takes: what they may be, and how they are found again behind `**common`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
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
    """Descriptor: the signature of a class, not of its instances, which are called with images."""

    def __get__(self, instance: object | None, owner: type) -> Signature:
        if instance is not None:
            raise AttributeError
        return constructor_signature(owner)


class NamedArguments:
    """Base of the shell: `inspect.signature` of a method has the arguments that `**common` stands for.

    `help`, editors and our own checks of names rely on it. jsonargparse follows `**common` by itself, but not into a
    class with a `__new__` of its own, which is why the shell inherits that from here.
    """

    __signature__ = _Signature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """As any class; what the constructor or a run refuses is one line where anomalib's command makes it.

        Raises:
            TypeError: an argument that the method does not have, with the nearest one.
        """
        del args
        explain_refusals()
        check_argument_names(cls, kwargs)
        return super().__new__(cls)


def constructor_signature(owner: type) -> Signature:
    """Arguments of a class whose constructors pass `**kwargs` on, those of base classes first.

    Where several declare an argument, the most derived one gives its default and type. `**kwargs` itself remains only
    where no base class ends it.
    """
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
    """Refuse arguments that a method does not have.

    Raises:
        TypeError: with the nearest name.
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
    """Refuse what cannot become prompts, before weights are loaded.

    Raises:
        ValueError: as `prompt_ensemble` and `check_words`.
    """
    check_words(words)
    prompt_ensemble(class_name or "object", domain, states, templates)


def check_components(pre_processor: Any, post_processor: Any, evaluator: Any, visualizer: Any) -> None:
    """Refuse what anomalib cannot put in the place of its parts, before weights are loaded.

    Raises:
        ValueError: neither true, false nor an object of its kind.
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
