"""Settings of the training of SDP+."""

from __future__ import annotations

from dataclasses import dataclass

from dualclip_lightning.utilities.arguments import check_positive, check_whole

HOW = ("epochs", "batch_size", "learning_rate", "shuffle")
"""Settings of training that a checkpoint records."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of training layers on auxiliary data.

    Args:
        epochs: at least 1.
        batch_size: at least 1.
        learning_rate: learning rate of Adam, above 0.
        shuffle: whether images are shuffled in each epoch.
        categories: categories of the auxiliary data set; None for the datamodule's own.

    Raises:
        ValueError: a number is out of range, or the list of categories is empty.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    shuffle: bool
    categories: tuple[str, ...] | None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        check_positive("learning_rate", self.learning_rate, "The published one is 0.0001.")
        if self.categories is not None and not self.categories:
            msg = "Expected auxiliary_categories to name at least one category. Leave it out for the data's own."
            raise ValueError(msg)
