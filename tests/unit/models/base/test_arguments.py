"""Constructors of methods: the arguments they declare themselves, and those they pass on as `**common`."""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, signature

import pytest
from anomalib.data import InferenceBatch
from anomalib.models import get_model
from anomalib.models.components.base import AnomalibModule
from jsonargparse import ArgumentParser

from dualclip_lightning.backbone import PlainVisionEncoder
from dualclip_lightning.models.base import AnchoredModel, Kind, ZeroShotShell
from dualclip_lightning.registry import MODELS
from dualclip_lightning.scoring import draw, text_score
from tests.towers import SIZE, random_images

METHODS = {name: getattr(import_module(home), name) for name, home in MODELS.items()}
COMMON = signature(ZeroShotShell).parameters


class ThirdPartyModel(AnchoredModel):
    """A method written by a user, which the package does not know."""

    def __init__(self, encoder, sharpness, drawing):
        super().__init__()
        self.encoder, self.sharpness, self.drawing = encoder, sharpness, drawing

    def forward(self, images):
        features = self.encoder(images)
        maps = text_score(features.patch_embeddings, self.require_anchors(), 1 / self.sharpness)
        drawn = draw(maps, tuple(images.shape[-2:]), self.drawing)
        return InferenceBatch(pred_score=drawn.flatten(1).amax(dim=1), anomaly_map=drawn)


class ThirdParty(ZeroShotShell, AnomalibModule):
    """The shell of that method.

    Args:
        sharpness: inverse temperature.
        drawing: smoother than the others.
        **common: what every method takes.
    """

    kind = Kind.INDUCTIVE

    def __init__(self, sharpness: float = 100.0, drawing: str = "anoclip", **common) -> None:
        super().__init__(drawing=drawing, **common)
        self.model = ThirdPartyModel(PlainVisionEncoder(self.backbone.visual), sharpness, self.drawing)


@pytest.fixture(params=[*METHODS.values(), ThirdParty], ids=lambda method: method.__name__)
def method(request):
    return request.param


def test_the_signature_of_a_method_has_every_common_argument_and_no_kwargs(method):
    parameters = signature(method).parameters
    assert set(COMMON) | set(signature(method.__init__).parameters) - {"self", "common"} == set(parameters)
    assert not [name for name, parameter in parameters.items() if parameter.kind is Parameter.VAR_KEYWORD]


def test_a_default_that_a_method_declares_takes_precedence(method):
    own = {name: p.default for name, p in signature(method.__init__).parameters.items() if p.default is not p.empty}
    assert own.items() <= {name: p.default for name, p in signature(method).parameters.items()}.items()


def test_the_command_line_has_the_same_arguments_with_the_same_defaults(method):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model")
    found = parser.parse_args([f"--model={method.__module__}.{method.__qualname__}"]).model.init_args
    expected = {name: parameter.default for name, parameter in signature(method).parameters.items()}
    assert vars(found) == {name: list(value) if isinstance(value, tuple) else value for name, value in expected.items()}


def test_the_command_line_describes_the_common_arguments(method):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(method, "model")
    text = " ".join(parser.format_help().split())
    assert "which selects the nouns of prompts; None looks the class up" in text
    assert "**common" not in text


@pytest.mark.parametrize(("name", "match"), [("clas_name", "Did you mean 'class_name'"), ("q", "Its arguments are ")])
def test_an_unknown_argument_is_refused_with_the_nearest(method, name, match):
    with pytest.raises(TypeError, match=f"{method.__name__} has no argument '{name}'. {match}"):
        method(**{name: "screw"})


def test_arguments_are_recorded_with_the_defaults_of_others(method, tiny_folder):
    given = {"pretrained": str(tiny_folder), "class_name": "screw", "seed": 3, "visualizer": False}
    made = method(**given)
    components = {"pre_processor", "post_processor", "evaluator", "visualizer"}
    expected = {name: parameter.default for name, parameter in signature(method).parameters.items()} | given
    assert dict(made.hparams) == {name: value for name, value in expected.items() if name not in components}


def test_an_instance_is_called_with_images(tiny_folder):
    made = ThirdParty(pretrained=str(tiny_folder), class_name="screw", visualizer=False)
    assert "images" not in signature(made).parameters
    assert "backbone" not in signature(made).parameters


def test_anomalib_finds_a_custom_method_by_name_but_not_the_shell(tiny_folder):
    made = get_model("third_party", pretrained=str(tiny_folder), class_name="screw", visualizer=False, sharpness=10)
    assert type(made) is ThirdParty
    made.set_class_name("screw")
    assert made.eval().model(random_images(2)).anomaly_map.shape == (2, SIZE, SIZE)
    assert ZeroShotShell not in AnomalibModule.__subclasses__()
