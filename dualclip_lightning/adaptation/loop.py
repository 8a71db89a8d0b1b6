"""The loop of test-time adaptation: a few AdamW steps for all images of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision

Loss = Callable[[Sequence[Tensor]], Tensor]
"""Parameters [B, ...] -> loss of each image [B]."""
OptimizerMemory = dict[str, Any]
"""AdamW's state as its `state_dict` gives it; empty before the first call."""

BAD_EMBEDDINGS = (
    "It was so before the first step already: check images and weights for NaN, or use precision bf16-mixed or 32."
)


class Adapted(NamedTuple):
    """Result of an adaptation."""

    parameters: list[Tensor]
    """each [B, ...]"""
    losses: Tensor
    """[T, B], the loss before each step"""


@contextmanager
def training_context(device: torch.device) -> Iterator[None]:
    """Enable gradients in single precision, also inside Lightning's inference mode, `torch.no_grad` and autocast."""
    with torch.inference_mode(mode=False), torch.enable_grad(), single_precision(device):
        yield


def constant(tensor: Tensor) -> Tensor:
    """Copy a tensor in single precision for use in a loss, within the training context.

    The copy is necessary because a tensor created in inference mode cannot be saved for the backward pass.
    """
    return tensor.detach().clone().float()


def adapt(
    start: Sequence[Tensor],
    loss: Loss,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    memory: OptimizerMemory | None = None,
) -> Adapted:
    """Minimise the loss of every image with AdamW.

    The parameters of all images are stacked in one tensor. AdamW works element by element and the loss of an image
    depends only on its own slice, so the images are independent: the result equals that of a loop over images.

    Args:
        start: initial values of the parameters, each [B, ...]; they are not modified.
        loss: called within a training context; it must use `constant` copies of tensors that were computed outside.
        steps: T, at least 0.
        learning_rate: learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        memory: AdamW's state, which is carried from call to call; None starts with a fresh state, as independent
            images require.

    Raises:
        FloatingPointError: a loss is not finite; the message names the remedy. The loss is not computed after the last
            step, so apply `require_finite` to the output of the adapters.
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
    """Return the remedy for diverging adaptation as a sentence."""
    return f"Lower its learning rate, which is {learning_rate}."


def require_finite(values: Tensor, remedy: str) -> None:
    """Check that losses, or the scores that result from them, are finite.

    Raises:
        FloatingPointError: a value is not finite; the message contains the remedy.
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
