"""The loop of test-time adaptation: a few AdamW steps for every image of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Sequence[Tensor]], Tensor]
"""Parameters [B, ...] -> loss of each image [B]."""
OptimizerMemory = dict[str, Any]
"""AdamW's state as its `state_dict` gives it; empty before the first call."""

BAD_EMBEDDINGS = (
    "It was so before the first step already: check images and weights for NaN, or use precision bf16-mixed or 32."
)


class Adapted(NamedTuple):
    """What adaptation left."""

    parameters: list[Tensor]
    """each [B, ...]"""
    losses: Tensor
    """[T, B], before each step"""


@contextmanager
def training_context(device: torch.device) -> Iterator[None]:
    """Gradients in single precision, also inside Lightning's inference mode, `torch.no_grad` and autocast."""
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def constant(tensor: Tensor) -> Tensor:
    """A copy in single precision that a loss may use: tensors born in inference mode may not. Call in the context."""
    return tensor.detach().clone().float()


def adapt(
    start: Sequence[Tensor],
    loss: Loss,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    memory: OptimizerMemory | None = None,
) -> Adapted:
    """Minimise the loss of every image with AdamW, parameters and optimiser state fresh.

    The parameters of all images are stacked in one tensor. AdamW works element by element and an image's loss depends
    on its own slice alone, so the images do not know of each other: the numbers are those of a loop over images.

    Args:
        start: first values of the parameters, each [B, ...]; they are not changed.
        loss: called within a training context; it must use `constant` copies of what was computed outside.
        steps: T, at least 0.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        memory: where AdamW's state is carried from call to call; None starts afresh, as independent images must.

    Raises:
        FloatingPointError: a loss that is not finite; the message names the remedy. No loss is taken after the last
            step, so use `require_finite` on what the adapters give.
    """
    with training_context(start[0].device):
        parameters = [constant(value).requires_grad_() for value in start]
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
        if memory:
            optimizer.load_state_dict(deepcopy(memory))
        history = [_step(parameters, loss, optimizer) for _ in range(steps)]
        losses = torch.stack(history) if history else parameters[0].new_empty(0, len(parameters[0]))
        require_finite(losses[:1], BAD_EMBEDDINGS)
        require_finite(losses, lower_rate(learning_rate))
        if memory is not None:
            memory.update(optimizer.state_dict())
        return Adapted([parameter.detach() for parameter in parameters], losses)


def lower_rate(learning_rate: float) -> str:
    """The remedy for adaptation that diverges."""
    return f"Lower its learning rate, which is {learning_rate}."


def require_finite(values: Tensor, remedy: str) -> None:
    """Refuse losses, or the scores they lead to, that are not finite.

    Raises:
        FloatingPointError: with the remedy in its message.
    """
    if not torch.isfinite(values).all():
        msg = f"The loss of test-time adaptation is not finite. {remedy}"
        raise FloatingPointError(msg)


def _step(parameters: Sequence[Tensor], loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    losses = loss(parameters)
    optimizer.zero_grad(set_to_none=True)
    losses.sum().backward()
    optimizer.step()
    return losses.detach()
