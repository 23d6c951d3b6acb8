"""Interest token spotting: which tokens matter to a person (Huang et al. 2025, sec. 3.4).

Shape letters: see `stclip.methods`; s frames with equally many persons, k interest tokens. The n
tokens are the class token, the persons and the patches.
"""

from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F


def attend(
    block: Any, tokens: Float[Tensor, "s n d"], num_people: int
) -> tuple[Float[Tensor, "s n d"], Float[Tensor, "s P n"]]:
    """The output of a CLIP block, and the persons' rows of its attention map.

    The map is the mean over heads of softmax(q k^T / sqrt(d/h)), which the block would compute with
    `need_weights`. Here only the persons' rows of it are computed, and the output comes from fused
    attention. Both are the same: `tests/parity/test_fast_forms.py`,
    `test_a_block_with_the_attention_of_persons`.

    Args:
        block: a residual attention block of the image tower.
        tokens: its input.
        num_people: P; the persons stand behind the class token.
    """
    attention, d = block.attn, tokens.shape[-1]
    projected = F.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (
        t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (s, h, n, d/h)
        for t in projected.chunk(3, -1)
    )
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out = tokens + block.ls_1(attention.out_proj(mixed))
    out = out + block.ls_2(block.mlp(block.ln_2(out)))
    with torch.no_grad():  # the choice of tokens passes no gradient on
        scores = q[:, :, 1 : 1 + num_people] @ k.transpose(-1, -2)
        rows = (scores * (d // attention.num_heads) ** -0.5).softmax(-1).mean(1)
    return out, rows


def most_attended(attention: Float[Tensor, "s P n"], k: int) -> Integer[Tensor, "s P k"]:
    """Numbers of the k tokens that each person attends to most, by falling attention.

    All of them if there are fewer.
    """
    return attention.topk(min(k, attention.shape[-1]), dim=-1).indices


def of_persons(
    tokens: Float[Tensor, "s n d"], chosen: Integer[Tensor, "s P k"]
) -> Float[Tensor, "s P k d"]:
    """The chosen tokens of each person."""
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None, None], chosen]
