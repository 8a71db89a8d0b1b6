"""AnoCLIP's adaptation (arXiv 2308.15939, section 3.4): an adapter fitted on tokens with noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.adaptation.loop import (
    Adapted,
    OptimizerMemory,
    adapt,
    constant,
    lower_rate,
    require_finite,
    training_context,
)
from dualclip_lightning.scoring import join_tiles, state_logits
from dualclip_lightning.scoring.text import ANOMALOUS, NORMAL

Adapter = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Tokens [B, ..., D], weights [B, ., D] and biases [B, .] -> adapted tokens [B, ..., D]."""

RESIDUAL = 0.5
CORRUPTION_WEIGHT = 0.5
"""Weight of the loss on noisy tokens; with RESIDUAL as in the released code."""

SMALLEST = 1e-30
"""Probabilities are cut here before their logarithm, far below any that temperature 1 can give."""


def apply_text_adapter(tokens: Tensor, weight: Tensor, bias: Tensor, texts: Tensor) -> Tensor:
    """Half the tokens, half what `tanh(W x/|x| + b)` makes of the text embeddings, of the shape of the tokens.

    Args:
        tokens: x, [B, ..., D], as they are.
        weight: [B, P, D].
        bias: [B, P].
        texts: [P, D], embeddings of all normal, then all anomalous prompts.
    """
    flat = tokens.flatten(1, -2)
    mixture = torch.baddbmm(bias.unsqueeze(1), F.normalize(flat, dim=-1), weight.transpose(1, 2)).tanh()
    return (RESIDUAL * flat + (1 - RESIDUAL) * mixture @ constant(texts)).view_as(tokens)


def noise_loss(clean: Tensor, noisy: Tensor) -> Tensor:
    """Entropy of clean tokens, and half of: noisy ones must be anomalous, clean ones normal; [B] from [B, ..., 2].

    The logarithm is taken of the probabilities, as in the released code: AdamW's first steps depend on the sign of
    gradients near zero, so that the last digit here shows in the fifth of the adapter.
    """
    clean, noisy = (logits.softmax(dim=-1).clamp_min(SMALLEST) for logits in (clean, noisy))
    entropy = -(clean * clean.log()).sum(-1)
    corruption = -noisy[..., ANOMALOUS].log() - clean[..., NORMAL].log()
    return (entropy + CORRUPTION_WEIGHT * corruption).flatten(1).mean(1)


def adapt_to_noise(
    tokens: Tensor,
    noise: Sequence[Tensor],
    anchors: Tensor,
    apply: Adapter,
    start: tuple[Tensor, Tensor],
    temperature: float = 1.0,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    memory: OptimizerMemory | None = None,
    enlarge: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Adapted]:
    """Probability of the anomalous state for the clean tokens after adaptation [B, ...], and the adapters.

    Args:
        tokens: [B, ..., D].
        noise: what is added to the tokens, of their shape, for every step.
        anchors: [2, D] (normal, anomalous).
        apply: adapted tokens from tokens, weights and biases.
        start: the adapters' first weights [B, ., D] and biases [B, .].
        temperature: of the softmax over states; the released code uses 1.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        memory: AdamW's state of the image before, as in the released code; None starts afresh.
        enlarge: what the loss sees of logits [B, ..., 2], where that is not the logits of the tokens themselves.

    Raises:
        FloatingPointError: a loss that is not finite.
    """
    with training_context(tokens.device):
        clean, states = constant(tokens), constant(anchors)
        corrupted = iter([clean + constant(n) for n in noise])

        def logits(x: Tensor, adapter: Sequence[Tensor]) -> Tensor:
            """Of both states for adapted tokens."""
            return state_logits(apply(x, *adapter), states, temperature)

        def loss(adapter: Sequence[Tensor]) -> Tensor:
            """Of every image; each step takes the next noise."""
            both = logits(clean, adapter), logits(next(corrupted), adapter)
            return noise_loss(*(both if enlarge is None else map(enlarge, both)))

        adapted = adapt(start, loss, len(noise), learning_rate, weight_decay, memory)
        with torch.no_grad():
            maps = logits(clean, adapted.parameters).softmax(dim=-1)[..., ANOMALOUS]
        if noise:
            require_finite(maps, lower_rate(learning_rate))
        return maps, adapted


def enlarge_tiles(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits [B, 2, h, w, 2] of two tiles at every pixel of the image that they join to: [B, H, W, 2].

    The loss of the released code for VisA reads these, so that patches which both tiles see are averaged in it.

    Args:
        logits: tiles after the batch, states last.
        size: H and W.
    """
    patches = logits.movedim(-1, 1)
    side = (min(size), min(size))
    pixels = F.interpolate(patches.flatten(1, 2), size=side, mode="bilinear", align_corners=True)
    return join_tiles(pixels.unflatten(1, patches.shape[1:3]), size).movedim(1, -1)


def draw_adapter(seed: int, outputs: int, width: int) -> tuple[Tensor, Tensor]:
    """First weight [P, D] and bias [P] of one image's adapter, as `torch.nn.Linear` starts its own.

    Args:
        seed: of the image.
        outputs: P, the number of prompts for the adapter over text embeddings, D for the linear one.
        width: D.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = width**-0.5
    values = torch.rand(outputs, width + 1, generator=generator).mul(2 * bound).sub(bound)
    return values[:, :width], values[:, width]


def draw_noise(seed: int, steps: int, shape: Sequence[int], scale: float) -> list[Tensor]:
    """Normal noise of one image for every step, each [*shape]."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(*shape, generator=generator) for _ in range(steps)]
