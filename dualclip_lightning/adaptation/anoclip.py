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
"""Lower bound of probabilities before their logarithm, far below any value that temperature 1 can give."""


def apply_text_adapter(tokens: Tensor, weight: Tensor, bias: Tensor, texts: Tensor) -> Tensor:
    """Return half the tokens plus half the text embeddings weighted by `tanh(W x/|x| + b)`, in the tokens' shape.

    Args:
        tokens: x, [B, ..., D], not normalised.
        weight: [B, P, D].
        bias: [B, P].
        texts: [P, D], embeddings of all normal, then all anomalous prompts.
    """
    flat = tokens.flatten(1, -2)
    mixture = torch.baddbmm(bias.unsqueeze(1), F.normalize(flat, dim=-1), weight.transpose(1, 2)).tanh()
    return (RESIDUAL * flat + (1 - RESIDUAL) * mixture @ constant(texts)).view_as(tokens)


def noise_loss(clean: Tensor, noisy: Tensor) -> Tensor:
    """Return the loss [B] of logits [B, ..., 2]: the entropy of clean tokens plus half the cross-entropy.

    In the cross-entropy, noisy tokens are anomalous and clean tokens normal. The logarithm is applied to
    probabilities, as in the released code: AdamW's first steps depend on the sign of gradients near zero, so a change
    in the last digit here alters the fifth digit of the adapter.
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
    """Fit adapters to noise; return the clean tokens' probability of the anomalous state [B, ...], and the adapters.

    Args:
        tokens: [B, ..., D].
        noise: one tensor per step, in the shape of the tokens, which is added to them.
        anchors: [2, D] (normal, anomalous).
        apply: function from tokens, weights and biases to adapted tokens.
        start: initial weights [B, ., D] and biases [B, .] of the adapters.
        temperature: temperature of the softmax over states; the released code uses 1.
        learning_rate: learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        memory: AdamW's state after the previous image, as in the released code; None starts with a fresh state.
        enlarge: applied to the logits [B, ..., 2] before the loss; None for no change.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    with training_context(tokens.device):
        clean, states = constant(tokens), constant(anchors)
        corrupted = iter([clean + constant(n) for n in noise])

        def logits(x: Tensor, adapter: Sequence[Tensor]) -> Tensor:
            """Return the logits of both states for adapted tokens."""
            return state_logits(apply(x, *adapter), states, temperature)

        def loss(adapter: Sequence[Tensor]) -> Tensor:
            """Return the loss of every image; each step uses the next noise."""
            both = logits(clean, adapter), logits(next(corrupted), adapter)
            return noise_loss(*(both if enlarge is None else map(enlarge, both)))

        adapted = adapt(start, loss, len(noise), learning_rate, weight_decay, memory)
        with torch.no_grad():
            maps = logits(clean, adapted.parameters).softmax(dim=-1)[..., ANOMALOUS]
        if noise:
            require_finite(maps, lower_rate(learning_rate))
        return maps, adapted


def enlarge_tiles(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge logits of two tiles [B, 2, h, w, 2] to pixels and join them: [B, H, W, 2].

    The loss of the released code for VisA uses these logits, so that patches covered by both tiles are averaged.

    Args:
        logits: [B, 2, h, w, 2], with tiles in the second dimension and states in the last.
        size: H and W of the image that the tiles cover.
    """
    patches = logits.movedim(-1, 1)
    side = (min(size), min(size))
    pixels = F.interpolate(patches.flatten(1, 2), size=side, mode="bilinear", align_corners=True)
    return join_tiles(pixels.unflatten(1, patches.shape[1:3]), size).movedim(1, -1)


def sample_adapter(seed: int, outputs: int, width: int) -> tuple[Tensor, Tensor]:
    """Sample the initial weight [P, D] and bias [P] of one image's adapter, distributed as in `torch.nn.Linear`.

    Args:
        seed: seed of the image.
        outputs: P, the number of prompts for the adapter over text embeddings, D for the linear one.
        width: D.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = width**-0.5
    values = torch.rand(outputs, width + 1, generator=generator).mul(2 * bound).sub(bound)
    return values[:, :width], values[:, width]


def sample_noise(seed: int, steps: int, shape: Sequence[int], scale: float) -> list[Tensor]:
    """Sample Gaussian noise of one image for every step, each [*shape], with standard deviation `scale`."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(*shape, generator=generator) for _ in range(steps)]
