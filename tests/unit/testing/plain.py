"""Methods of anomalib that do not know this package, one of which learns."""

from __future__ import annotations

from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn
from torchvision.transforms.v2 import Resize


class DistanceToCenter(nn.Module):
    """Scores by the distance of a pixel to a center image, which is 0 until it is set."""

    center: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(3, 64, 64))

    def forward(self, images: Tensor) -> InferenceBatch:
        maps = (images - self.center).abs().mean(dim=1)
        return InferenceBatch(pred_score=maps.flatten(1).amax(dim=1), anomaly_map=maps)


class Small(AnomalibModule):
    """A method whose images have 64x64 pixels."""

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        return PreProcessor(transform=Resize(image_size or (64, 64), antialias=True))


class Plain(Small):
    """Compares with 0."""

    learning_type = LearningType.ZERO_SHOT
    trainer_arguments: dict[str, Any] = {}  # noqa: RUF012 - a constant

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model = DistanceToCenter()

    def validation_step(self, batch: Any, *_: Any) -> Any:
        return self.test_step(batch, 0)

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        return PostProcessor()


class Trained(Small):
    """Compares with the mean of the normal images, which an epoch of training computes."""

    learning_type = LearningType.ONE_CLASS
    trainer_arguments = {"max_epochs": 1, "num_sanity_val_steps": 0}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        super().__init__()
        self.model, self.seen = DistanceToCenter(), 0

    def training_step(self, batch: Any, _: int) -> None:
        self.model.center += batch.image.sum(dim=0)
        self.seen += len(batch.image)

    def on_train_epoch_end(self) -> None:
        self.model.center /= self.seen

    @staticmethod
    def configure_optimizers() -> None:
        """Return no optimizer, because nothing is optimised."""
