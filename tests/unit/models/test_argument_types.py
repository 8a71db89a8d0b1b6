"""Arguments of the wrong type to any method or to a Detector give one sentence that names the argument."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import signature

import pytest
import torch

from dualclip_lightning import Detector
from dualclip_lightning.registry import MODELS

METHODS = {name: getattr(import_module(module), name) for name, module in MODELS.items()}
OWNERS = {**METHODS, "Detector": Detector}
NUMBER, TEXT, LIST, NOTHING = 3.5, "x", ["a", "b"], None
NO_SWITCH = (NUMBER, LIST, NOTHING, "false", 0)
WRONG = {
    "backbone": (NUMBER, LIST, NOTHING),
    "pretrained": (NUMBER, LIST, NOTHING),
    "class_name": (NUMBER, LIST, b"x", {"a": 1}),
    "seed": (NUMBER, TEXT, LIST, NOTHING, True),
    "image_size": (NUMBER, TEXT, "120", LIST, (120,), True, 0, -120),
    "preprocessing": (NUMBER, TEXT, LIST),
    "domain": (NUMBER, TEXT, LIST),
    "states": (NUMBER, TEXT, LIST, {"normal": 3, "anomalous": ["{}"]}, {"normal": ["{}"], "anomalous": [3]}),
    "templates": (NUMBER, TEXT, [], [3]),
    "temperature": (TEXT, LIST, NOTHING, float("nan"), True),
    "alpha": (TEXT, LIST, NOTHING, True, 2),
    "class_weight": (TEXT, LIST, NOTHING, True, 2),
    "num_references": (NUMBER, TEXT, LIST, True, -1),
    "bank_size": (NUMBER, TEXT, LIST, NOTHING, True),
    "batch_size": (NUMBER, TEXT, LIST, NOTHING, True),
    "vv_blocks": (NUMBER, TEXT, LIST),
    "drawing": (NUMBER, TEXT, LIST),
    "words": (NUMBER, TEXT, LIST, NOTHING),
    "tta": (NUMBER, TEXT, LIST),
    "geometry": (NUMBER, TEXT, LIST, NOTHING),
    "compare_with": (NUMBER, TEXT, LIST, NOTHING),
    "threshold": (LIST, True, 2),
    "max_megapixels": (TEXT, LIST, NOTHING, True),
    "reference_dir": (NUMBER, LIST, 3),
    "spatial_window": (TEXT, LIST, True, 2),
    "method": (NUMBER, TEXT, LIST, NOTHING),
    "checkpoint": (NUMBER, LIST),
    "device": (NUMBER, LIST, NOTHING, 0),
    "resize": (NUMBER, TEXT, LIST, NOTHING, True),
    "text_mean": (NUMBER, TEXT, LIST, NOTHING),
    "variant": (NUMBER, TEXT, LIST, NOTHING),
    "stages": (NUMBER, TEXT, LIST),
    "representative": (NUMBER, TEXT, LIST, NOTHING),
    "eps": (TEXT, LIST, NOTHING, True, float("inf")),
    "min_samples": (NUMBER, TEXT, LIST, NOTHING, True),
    "auxiliary_categories": (NUMBER, TEXT, [3], []),
    "epochs": (NUMBER, TEXT, LIST, NOTHING, True),
    "learning_rate": (TEXT, LIST, NOTHING, True),
    "weight_decay": (TEXT, LIST, NOTHING, True),
    "adapter": (NUMBER, TEXT, LIST, NOTHING),
    "steps": (NUMBER, TEXT, LIST, NOTHING, True),
    "noise": (TEXT, LIST, NOTHING, True),
    "layers": (NUMBER, TEXT, LIST),
    "r": (NUMBER, TEXT, LIST, NOTHING),
    "reference_layers": (NUMBER, TEXT, LIST, [2], [True], [0.5, None]),
    "reference_path": (NUMBER, TEXT, LIST, NOTHING),
    "neighbourhood": (NUMBER, TEXT, LIST, NOTHING, [2]),
    "neighbourhood_weighting": (NUMBER, TEXT, LIST, NOTHING),
    "reference_fusion": (NUMBER, TEXT, LIST, NOTHING),
    "min_area": (NUMBER, TEXT, LIST, NOTHING, True, -1),
    "explained_variance": (TEXT, LIST, NOTHING, True, 1, 0),
    "reference_backbone": (NUMBER, LIST),
    "reference_pretrained": (NUMBER, LIST, NOTHING),
    "class_neighbours": (NUMBER, TEXT, LIST, [0], []),
    "lowest": (TEXT, LIST, NOTHING, True, 2),
    "neighbours": (NUMBER, TEXT, LIST, NOTHING),
    "image_score": (NUMBER, TEXT, LIST, NOTHING),
    "subsets": (NUMBER, TEXT, LIST, NOTHING, True),
    "rotations": (NUMBER, TEXT, LIST, NOTHING, True),
    "share": (TEXT, LIST, NOTHING, True, 2),
    "scales": (NUMBER, TEXT, LIST, NOTHING),
    "k_shot": (NUMBER, TEXT, LIST, NOTHING, True),
    **dict.fromkeys(("views", "carry_optimizer", "normalize_scores", "released_tokens", "shuffle"), NO_SWITCH),
    "reference_rotations": NO_SWITCH,
    **dict.fromkeys(("pre_processor", "post_processor", "evaluator", "visualizer"), NO_SWITCH),
}
"""Values of the wrong type for every argument of every method."""
IMAGES = {"reference_dir", "references"}
"""Arguments of a Detector that take images of any kind, and therefore give the errors of images."""
FROM_METHOD = {"pretrained", "temperature", "alpha", "class_weight", "text_mean"}
"""Arguments of a Detector for which None takes the default of the method."""
SHELL = "ClipZeroShot"
"""Method on which the arguments of the shared shell are tested for all methods."""
SAID = {"class_name": "class_name|class name"}


def declares(owner, name):
    """Return whether a class has an argument and does more with it than pass it on."""
    cls = OWNERS[owner]
    return name in signature(cls if owner == SHELL else vars(cls)["__init__"]).parameters


def right(owner, name, value):
    """Return whether a Detector, unlike a method, takes a value."""
    return owner == "Detector" and (name in IMAGES or (name in {"class_name", *FROM_METHOD} and value is None))


CASES = [(owner, name) for owner in OWNERS for name in WRONG if declares(owner, name)]


@pytest.mark.parametrize(("owner", "name"), CASES)
def test_a_wrong_type_is_refused_by_name(owner, name, tiny_folder):
    for value in (value for value in WRONG[name] if not right(owner, name, value)):
        given = {"pretrained": str(tiny_folder), "class_name": "plate", name: value}
        with pytest.raises(ValueError, match=r"(?i)expected|unknown|must") as refusal:
            OWNERS[owner](**given)
        assert re.search(SAID.get(name, name), str(refusal.value)), value
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("owner", OWNERS)
def test_every_argument_has_a_case(owner):
    named = {name for name, each in signature(OWNERS[owner]).parameters.items() if each.kind is not each.VAR_KEYWORD}
    assert named <= WRONG.keys() | IMAGES


def test_a_detector_takes_a_device_of_torch(tiny_folder):
    assert Detector("plate", pretrained=str(tiny_folder), device=torch.device("cpu")).device == torch.device("cpu")


def test_a_detector_needs_a_class_name(tiny_folder):
    with pytest.raises(ValueError, match="class_name"):
        Detector(None, pretrained=str(tiny_folder))


@pytest.mark.parametrize("owner", OWNERS)
def test_another_default_precision_is_refused_with_the_remedy(owner, tiny_folder):
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match=r"set_default_dtype\(torch.float32\)"):
            OWNERS[owner](pretrained=str(tiny_folder), class_name="plate")
    finally:
        torch.set_default_dtype(torch.float32)
