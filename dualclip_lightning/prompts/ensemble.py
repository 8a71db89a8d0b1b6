"""The prompt ensemble: state words x templates x class name.

The sentences of every method are built from parts, so that a part can be replaced without listing hundreds of
sentences. All methods share the phrases of WinCLIP ("a photo of ...") and differ in states and in the
nouns for an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal, NamedTuple, get_args

from dualclip_lightning.prompts.categories import AS_THEY_STAND, check_class_name, is_texture

Domain = Literal["object", "texture"]

FAULTS = ("flaw", "defect", "damage")
MORE_FAULTS = ("scratch", "crack", "contamination")
WITH, WITHOUT = (tuple(f"{{}} {word} {fault}" for fault in FAULTS) for word in ("with", "without"))
ADJECTIVES = ("", "cropped ", "close-up ", "bright ", "dark ", "jpeg corrupted ", "blurry ")
PHRASES = (
    *(f"{adjective}{{noun}} of {{article}} {{state}}" for adjective in ADJECTIVES),
    "{noun} of {article} small {state}",
    "{noun} of {article} large {state}",
    "{noun} of {article} {state} for visual inspection",
    "{noun} of {article} {state} for anomaly detection",
)
ARTICLES = ("a", "the")


class Wording(NamedTuple):
    """The words of one method's prompts.

    Example:
        >>> from dualclip_lightning.prompts import Wording
        >>> Wording(normal=("good {}",), anomalous=("bent {}",)).stop
        ''
    """

    normal: tuple[str, ...]
    """States with one `{}` for the class."""
    anomalous: tuple[str, ...]
    object_nouns: tuple[str, ...] = ("photo",)
    """Nouns for an image of an object."""
    texture_nouns: tuple[str, ...] = ("photo",)
    stop: str = ""
    """Ending of every sentence."""
    renamed: Mapping[str, str] = AS_THEY_STAND
    """Categories that the released code renames, with their names there."""

    def templates(self, domain: Domain) -> tuple[str, ...]:
        """Return all combinations of phrase, noun and article as templates with one `{}` for the state."""
        nouns = {"object": self.object_nouns, "texture": self.texture_nouns}[domain]
        phrases = (phrase.format(noun=n, article=a, state="{}") for phrase, n, a in product(PHRASES, nouns, ARTICLES))
        return tuple(f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}{self.stop}" for phrase in phrases)


WORDINGS: Mapping[str, Wording] = {
    "anoclip": Wording(
        normal=("normal {}", "flawless {}", "perfect {}", "unblemished {}", *WITHOUT),
        anomalous=("damaged {}", "abnormal {}", "imperfect {}", "blemished {}", *WITH),
        object_nouns=("industrial photo", "industrial image", "manufacturing image"),
        texture_nouns=("industrial photo", "textural photo", "surface picture"),
        renamed={"macaroni1": "macaroni", "macaroni2": "macaroni"},
    ),
    "winclip": Wording(
        normal=("{}", "flawless {}", "perfect {}", "unblemished {}", *WITHOUT),
        anomalous=("damaged {}", *WITH),
        stop=".",
    ),
    "clip_ad": Wording(
        normal=(
            "flawless {}",
            "perfect {}",
            "unblemished {}",
            *WITHOUT,
            *(f"{{}} without {fault}" for fault in MORE_FAULTS),
        ),
        anomalous=(
            *("damaged {}", "imperfect {}", "blemished {}", "broken {}"),
            *WITH,
            *(f"{{}} with {fault}" for fault in MORE_FAULTS),
        ),
        stop=".",
    ),
}
"""Wordings of AnoCLIP (arXiv 2308.15939), also used by Dual-Image CLIP (arXiv 2405.04782), of WinCLIP (arXiv
2303.14814) and of CLIP-AD (arXiv 2311.00453)."""


class PromptPair(NamedTuple):
    """The sentences of both states, without duplicates, in a fixed order.

    Example:
        >>> from dualclip_lightning.prompts import PromptPair
        >>> PromptPair(normal=("a photo of a good screw",), anomalous=("a photo of a bent screw",)).anomalous
        ('a photo of a bent screw',)
    """

    normal: tuple[str, ...]
    anomalous: tuple[str, ...]


def prompt_ensemble(
    class_name: str,
    domain: Domain | None = None,
    states: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] | None = None,
    wording: str = "anoclip",
) -> PromptPair:
    """Return all sentences for one class.

    Args:
        class_name: words such as "steel plate", used unchanged; `class_words` returns those of a category.
        domain: "object" or "texture", which selects the nouns; None looks the class up and uses "object" if it is
            unknown.
        states: phrases with one `{}` for the class, under the keys "normal" and "anomalous"; replaces the default.
        templates: sentences with one `{}` for the state phrase; replaces the default.
        wording: the wording that gives the defaults, a key of `WORDINGS`.

    Raises:
        ValueError: the class name is empty, the domain or a state is unknown, or a phrase does not have exactly one
            `{}`.

    Example:
        >>> from dualclip_lightning.prompts import prompt_ensemble
        >>> states = {"normal": ["flawless {}"], "anomalous": ["dented {}", "torn {}"]}
        >>> prompt_ensemble("steel plate", states=states, templates=["a photo of a {}."]).anomalous
        ('a photo of a dented steel plate.', 'a photo of a torn steel plate.')
    """
    check_class_name(class_name)
    domain = domain or ("texture" if is_texture(class_name) else "object")
    if domain not in get_args(Domain):
        msg = f"Expected domain to be one of {list(get_args(Domain))}, but got '{domain}'."
        raise ValueError(msg)
    words_of = WORDINGS[wording]
    states = _check_states({"normal": words_of.normal, "anomalous": words_of.anomalous} if states is None else states)
    templates = _check_slots("templates", words_of.templates(domain) if templates is None else templates)
    return PromptPair(
        *(
            tuple(dict.fromkeys(t.format(s.format(class_name)) for s, t in product(states[name], templates)))
            for name in PromptPair._fields
        ),
    )


def _check_states(states: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    if not isinstance(states, Mapping) or set(states) != set(PromptPair._fields):
        got = sorted(states) if isinstance(states, Mapping) else repr(states)
        msg = f"Expected states with the keys {list(PromptPair._fields)}, but got {got}."
        raise ValueError(msg)
    return {name: _check_slots(f"states['{name}']", phrases) for name, phrases in states.items()}


def _is_list(phrases: object) -> bool:
    return isinstance(phrases, Sequence) and not isinstance(phrases, str) and len(phrases) > 0


def _check_slots(name: str, phrases: Sequence[str]) -> Sequence[str]:
    if not _is_list(phrases) or not all(isinstance(phrase, str) for phrase in phrases):
        msg = f"Expected {name} to be a list of at least one phrase, but got {phrases!r}."
        raise ValueError(msg)
    for phrase in phrases:
        if phrase.count("{}") != 1 or phrase.replace("{}", "").count("{") or phrase.replace("{}", "").count("}"):
            msg = f"Expected every phrase of {name} to have exactly one '{{}}' and no other brace, but got '{phrase}'."
            raise ValueError(msg)
    return phrases
