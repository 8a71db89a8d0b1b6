"""A method of someone else, in a folder of its own: what a user would write in one file."""

from __future__ import annotations

SOURCE = '''
"""Scores images by the distance of their colours to those of training images, without this package."""

import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import nn


class Nearest(nn.Module):
    def __init__(self, neighbours):
        super().__init__()
        self.neighbours = neighbours
        self.seen = []
        self.register_buffer("bank", torch.zeros(64, 3))

    def forward(self, images):
        pixels = nn.functional.avg_pool2d(images, 8)
        flat = pixels.flatten(2).transpose(1, 2)
        if self.training:
            self.seen.append(flat.reshape(-1, 3))
            return flat.sum()
        near = torch.cdist(flat, self.bank.expand(len(images), -1, -1)).topk(self.neighbours, largest=False).values
        maps = near.mean(-1).unflatten(1, pixels.shape[-2:])
        maps = nn.functional.interpolate(maps[:, None], images.shape[-2:])
        return InferenceBatch(pred_score=maps.amax((1, 2, 3)), anomaly_map=maps)


class ColourKnn(AnomalibModule):
    def __init__(self, neighbours: int = 1, size: int = 32):
        super().__init__(pre_processor=self.configure_pre_processor((size, size)))
        self.model = Nearest(neighbours)

    def configure_optimizers(self):
        return None

    def training_step(self, batch, *args):
        self.model(batch.image)

    def on_train_end(self):
        colours = torch.cat(self.model.seen)
        self.model.bank = colours[torch.arange(64) % len(colours)]

    @property
    def trainer_arguments(self):
        return {"max_epochs": 1, "limit_val_batches": 1.0, "devices": 1}

    @property
    def learning_type(self):
        return LearningType.ONE_CLASS
'''


def write_outside_method(folder, name="mymethod", changes=()):
    """Write the method as a module, with texts of it replaced."""
    text = SOURCE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


HOOK = """    kind = "auxiliary"

    def fit_auxiliary(self, engine, datamodules):
        engine.fit(self, datamodule=datamodules[-1])

"""
AUXILIARY = [("    def configure_optimizers", HOOK + "    def configure_optimizers")]
"""Changes that make it a method that is trained on other data."""
