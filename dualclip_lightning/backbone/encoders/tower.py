"""Steps of the forward pass of an unmodified open_clip vision tower.

Every encoder of this package runs the blocks of an unmodified `open_clip.transformer.VisionTransformer` itself, so
that it can share the query-key-value projection between the ordinary and the V-V stream. These are the common
steps. Shapes: B images, N = h*w patches, T = 1 + N tokens (class token first), width C, heads H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders.timm_tower import TimmTower

REMEDY = (
    "This package needs an open_clip VisionTransformer that pools its class token, "
    "for example ViT-B-16-plus-240, ViT-B-16, ViT-L-14-336 or ViT-H-14."
)
"""End of the message about a tower that cannot be used."""


def check_tower(visual: object) -> VisionTransformer:
    """Return `visual` after checking that its blocks can be run one by one.

    Raises:
        ValueError: it is not an open_clip VisionTransformer with a class token and plain multi-head attention.
    """
    if isinstance(visual, TimmTower):
        msg = f"This method compares images with texts, and a model of timm has none. {REMEDY}"
        raise ValueError(msg)  # noqa: TRY004
    if not isinstance(visual, VisionTransformer):
        msg = f"The vision tower is a {type(visual).__name__}, not a VisionTransformer. {REMEDY}"
        raise ValueError(msg)  # noqa: TRY004 - the user's choice of model is wrong, not the program's type
    if visual.attn_pool is not None or visual.pool_type != "tok":
        msg = f"The vision tower pools with '{visual.pool_type}' or attention, not its class token. {REMEDY}"
        raise ValueError(msg)
    for block in visual.transformer.resblocks:
        if not isinstance(block, ResidualAttentionBlock) or not isinstance(block.attn, nn.MultiheadAttention):
            msg = f"The vision tower has {type(block).__name__} blocks with a special attention. {REMEDY}"
            raise ValueError(msg)  # noqa: TRY004
    return visual


def patch_grid(visual: VisionTransformer | TimmTower, height: int, width: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of patches in an image of `height` x `width` pixels.

    Raises:
        ValueError: a side is smaller than the patch or not a multiple of it.
    """
    rows, columns = visual.patch_size
    if height < rows or width < columns or height % rows or width % columns:
        near = max(1, round(height / rows)) * rows, max(1, round(width / columns)) * columns
        msg = (
            f"An image of {height}x{width} pixels does not divide into {rows}x{columns} patches. "
            f"Set the image size to multiples of the patch, for example {near[0]}x{near[1]}."
        )
        raise ValueError(msg)
    if isinstance(visual, TimmTower) and visual.only_size not in {None, (height, width)}:
        msg = (
            f"This model of timm takes only images of {visual.only_size[0]}x{visual.only_size[1]} pixels, but got "
            f"{height}x{width}. Set the image size to that."
        )
        raise ValueError(msg)
    return height // rows, width // columns


def position_embedding(visual: VisionTransformer, grid: tuple[int, int]) -> Tensor:
    """Return position embeddings [1+h*w, C] for a patch grid, interpolated (bicubic) if it is not the tower's own."""
    position = visual.positional_embedding
    if grid == tuple(visual.grid_size):
        return position
    square = position[1:].float().reshape(1, *visual.grid_size, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([position[:1], resized.flatten(2)[0].T.to(position.dtype)])


def embed(visual: VisionTransformer, images: Tensor, patches: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
    """Return the tokens [B, T, C] after `ln_pre` of images [B, 3, H, W], and the patch grid (h, w).

    `patches` is the output [B, C, h, w] of the patch convolution if it is known already.
    """
    grid = patch_grid(visual, *images.shape[-2:])
    patches = (visual.conv1(images) if patches is None else patches).flatten(2).transpose(1, 2)
    # shape[0], not len(), so that exporters treat it as a variable
    start = visual.class_embedding.to(patches.dtype).expand(images.shape[0], 1, -1)
    tokens = torch.cat([start, patches], dim=1) + position_embedding(visual, grid).to(patches.dtype)
    return visual.ln_pre(tokens), grid


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split channels into heads: [B, T, C] -> [B, H, T, C/H]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def project_qkv(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute queries, keys and values [B, H, T, C/H] of tokens [B, T, C] in one matrix product."""
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (split_heads(part, attention.num_heads) for part in qkv.chunk(3, dim=-1))
    return q, k, v


def project_class_query(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Same as `project_qkv`, but only with the class token's query [B, H, 1, C/H], for the last block."""
    width = attention.embed_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    q = F.linear(x[:, :1], weight[:width], None if bias is None else bias[:width])
    kv = F.linear(x, weight[width:], None if bias is None else bias[width:])
    q, k, v = (split_heads(part, attention.num_heads) for part in (q, *kv.chunk(2, dim=-1)))
    return q, k, v


def attend(attention: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute `out_proj(softmax(q k^T / sqrt(C/H)) v)` [B, T, C]; for q = k = v this is V-V attention (eq. 4)."""
    mixed = F.scaled_dot_product_attention(q, k, v)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def finish_block(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """Apply the residual sum and the MLP of an ordinary block, after its attention."""
    x = x + block.ls_1(attended)
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def run_block(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Run an ordinary block: [B, T, C] -> [B, T, C]."""
    return finish_block(block, x, attend(block.attn, *project_qkv(block.attn, block.ln_1(x))))


def run_class_block(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Compute an ordinary block for the class token only: [B, T, C] -> [B, 1, C].

    For a single query, keys and values need not be computed: q . (W_k x) = (W_k^T q) . x, where the bias of the keys
    adds the same to all tokens and so does not change the softmax, and the mean of W_v x + b is W_v of the mean of x,
    plus b. So no other token is projected, and the result equals that of the whole block.
    """
    attention, tokens = block.attn, block.ln_1(x)
    heads = attention.num_heads
    w_q, w_k, w_v = attention.in_proj_weight.chunk(3)
    b_q, _, b_v = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    q = F.linear(tokens[:, 0], w_q, b_q).unflatten(-1, (heads, -1))
    back = torch.einsum("bhd,hdc->bhc", q, w_k.unflatten(0, (heads, -1)))  # one product per head, whatever the batch
    weights = (back @ tokens.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    mixed = torch.einsum("bhc,hdc->bhd", weights @ tokens, w_v.unflatten(0, (heads, -1))).flatten(1)
    mixed = mixed if b_v is None else mixed + b_v
    return finish_block(block, x[:, :1], attention.out_proj(mixed).unsqueeze(1))


def project_out(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Apply `ln_post` and the projection into the shared space: [..., C] -> [..., D]."""
    tokens = visual.ln_post(tokens)
    return tokens if visual.proj is None else tokens @ visual.proj
