"""The attention of a frozen CLIP's blocks, which passes gradients on to tokens alone.

Shape letters: see `stclip.methods`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenAttention(nn.MultiheadAttention):
    """PyTorch's attention, without its copies of all tokens into another order and back.

    A token's numbers are PyTorch's to the last bit, and so are its gradients: no sum runs over
    tokens in another order. That of a weight's gradient would, so trained weights are left to
    PyTorch's own form, and so is what needs no gradient: there PyTorch has a faster one.
    """

    def forward(
        self, query: Float[Tensor, "U n d"], key: Any, value: Any, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`; the short way gives no attention map."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        short = (
            torch.is_grad_enabled() and not weight.requires_grad and self.batch_first
            and key is value and not args and kwargs.keys() <= {"need_weights", "attn_mask"}
            and not kwargs.get("need_weights", True)
        )  # fmt: skip
        if not short:
            return super().forward(query, key, value, *args, **kwargs)
        d = query.shape[-1]
        if query is key:
            q, k, v = F.linear(query, weight, bias).chunk(3, -1)
        else:
            q = F.linear(query, weight[:d], bias[:d])
            k, v = F.linear(key, weight[d:], bias[d:]).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, kwargs.get("attn_mask"))  # (U, h, n, d/h)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def take_over(attention: nn.MultiheadAttention) -> None:
    """Make an attention a `FrozenAttention`; weights and random numbers stay as they are."""
    attention.__class__ = FrozenAttention
