"""The prompt ensemble: state words x templates x class name.

The words are those given for AnoCLIP (arXiv 2308.15939), which Dual-Image CLIP (arXiv 2405.04782) takes over; the
sentences are built from their parts here, so that a part can be replaced without listing hundreds of sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal, NamedTuple

from dualclip_lightning.prompts.categories import class_words, is_texture

Domain = Literal["object", "texture"]

FAULTS = ("flaw", "defect", "damage")
NORMAL_STATES = ("normal {}", "flawless {}", "perfect {}", "unblemished {}", *(f"{{}} without {f}" for f in FAULTS))
ANOMALOUS_STATES = ("damaged {}", "abnormal {}", "imperfect {}", "blemished {}", *(f"{{}} with {f}" for f in FAULTS))

DOMAIN_NOUNS: Mapping[Domain, tuple[str, ...]] = {
    "object": ("industrial photo", "industrial image", "manufacturing image"),
    "texture": ("industrial photo", "textural photo", "surface picture"),
}
VIEWS = (
    "a {noun} of {article} {state}",
    "a cropped {noun} of {article} {state}",
    "a close-up {noun} of {article} {state}",
    "a bright {noun} of {article} {state}",
    "a dark {noun} of {article} {state}",
    "a jpeg corrupted {noun} of {article} {state}",
    "a blurry {noun} of {article} {state}",
    "a {noun} of {article} plain {state}",
    "a {noun} of {article} small {state}",
    "a {noun} of {article} large {state}",
    "a {noun} of {article} {state} for visual inspection",
    "a {noun} of {article} {state} for anomaly detection",
)
ARTICLES = ("a", "the")


class PromptPair(NamedTuple):
    """The sentences of both states, without repeats, in a fixed order."""

    normal: tuple[str, ...]
    anomalous: tuple[str, ...]


def default_templates(domain: Domain) -> tuple[str, ...]:
    """Every view x article x domain noun as a template with one `{}` for the state."""
    parts = product(VIEWS, DOMAIN_NOUNS[domain], ARTICLES)
    return tuple(view.format(noun=noun, article=article, state="{}") for view, noun, article in parts)


def prompt_ensemble(
    class_name: str,
    domain: Domain | None = None,
    states: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] | None = None,
) -> PromptPair:
    """All sentences for one class.

    Args:
        class_name: a category such as `metal_nut` or words such as "steel plate"; categories become words.
        domain: whether the class is an object or a texture, which chooses the nouns; None looks the class up and
            takes "object" for one it does not know.
        states: phrases with one `{}` for the class, under the keys "normal" and "anomalous"; replaces the default.
        templates: sentences with one `{}` for the state phrase; replaces the default.

    Raises:
        ValueError: an empty class name, an unknown domain or state, or a phrase without exactly one `{}`.
    """
    words = class_words(class_name)
    domain = domain or ("texture" if is_texture(class_name) else "object")
    if domain not in DOMAIN_NOUNS:
        msg = f"Expected domain to be one of {sorted(DOMAIN_NOUNS)}, but got '{domain}'."
        raise ValueError(msg)
    states = _check_states({"normal": NORMAL_STATES, "anomalous": ANOMALOUS_STATES} if states is None else states)
    templates = _check_slots("templates", default_templates(domain) if templates is None else templates)
    return PromptPair(
        *(
            tuple(dict.fromkeys(t.format(s.format(words)) for s, t in product(states[name], templates)))
            for name in PromptPair._fields
        ),
    )


def _check_states(states: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    if set(states) != set(PromptPair._fields):
        msg = f"Expected states with the keys {list(PromptPair._fields)}, but got {sorted(states)}."
        raise ValueError(msg)
    return {name: _check_slots(f"states['{name}']", phrases) for name, phrases in states.items()}


def _check_slots(name: str, phrases: Sequence[str]) -> Sequence[str]:
    if isinstance(phrases, str) or not phrases:
        msg = f"Expected {name} to be a list of at least one phrase, but got {phrases!r}."
        raise ValueError(msg)
    for phrase in phrases:
        if phrase.count("{}") != 1 or phrase.replace("{}", "").count("{") or phrase.replace("{}", "").count("}"):
            msg = f"Expected every phrase of {name} to have exactly one '{{}}' and no other brace, but got '{phrase}'."
            raise ValueError(msg)
    return phrases
