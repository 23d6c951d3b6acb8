"""Interest token spotting: which tokens matter to a person (Huang et al. 2025, sec. 3.4).

s frames with equally many persons P, n tokens (class token, persons, patches), d image width,
h heads, k interest tokens.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def person_attention(
    block: Any, tokens: Float[Tensor, "s n d"], num_people: int
) -> Float[Tensor, "s P n"]:
    """What each person attends to in a CLIP block, averaged over heads.

    Only the persons' rows of the attention map are computed, never the whole map.

    Args:
        block: a residual attention block of the image tower.
        tokens: its input.
        num_people: P; the persons stand behind the class token.
    """
    attention, normed = block.attn, block.ln_1(tokens)
    d, heads = tokens.shape[-1], attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    q = F.linear(normed[:, 1 : 1 + num_people], weight[:d], bias[:d])
    k = F.linear(normed, weight[d : 2 * d], bias[d : 2 * d])
    q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))  # (s, h, P or n, d/h)
    return ((q @ k.transpose(-1, -2)) * (d // heads) ** -0.5).softmax(-1).mean(1)


def most_attended(
    tokens: Float[Tensor, "s n d"], attention: Float[Tensor, "s P n"], k: int
) -> Float[Tensor, "s P k d"]:
    """The k tokens that each person attends to most; all of them if there are fewer."""
    chosen = attention.topk(min(k, attention.shape[-1]), dim=-1).indices  # (s, P, k)
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None, None], chosen]
