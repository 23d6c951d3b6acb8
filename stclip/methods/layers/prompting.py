"""Blocks in which the label texts attend to visual tokens.

Shape letters: see `stclip.methods`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.methods.layers.quick_gelu import QuickGELU


class CrossAttention(nn.Module):
    """Multi-head attention of the text to the image tokens; queries, keys, values without bias."""

    def __init__(self, width: int, *, heads: int) -> None:
        """`heads` must divide `width`."""
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(
        self, text: Float[Tensor, "S K e"], visual: Float[Tensor, "S n e"]
    ) -> Float[Tensor, "S K e"]:
        """softmax(q k^T / sqrt(e/h)) v in each head, then an output projection.

        q = W_q text, k = W_k visual, v = W_v visual.
        """
        q = self.q_proj(text).unflatten(-1, (self.heads, -1))  # (S, K, h, e/h)
        # With few labels, keys and values of all tokens cost more than what is done with them.
        few = q.shape[1] * self.heads < text.shape[-1]
        mixed = self.mix_folded(q, visual) if few else self.mix(q, visual)
        return self.proj(mixed.flatten(2))

    def mix(
        self, q: Float[Tensor, "S K h c"], visual: Float[Tensor, "S n e"]
    ) -> Float[Tensor, "S K h c"]:
        """softmax(q k^T / sqrt(c)) v in each head, of c = e/h channels."""
        k, v = (
            project(visual).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (S, h, n, c)
            for project in (self.k_proj, self.v_proj)
        )
        return F.scaled_dot_product_attention(q.transpose(1, 2), k, v).transpose(1, 2)

    def mix_folded(
        self, q: Float[Tensor, "S K h c"], visual: Float[Tensor, "S n e"]
    ) -> Float[Tensor, "S K h c"]:
        """`mix` with the projections of keys and values on the side of the queries.

        q (W_k x) = (q W_k) x, and a (W_v x) = W_v (a x) for attention weights a. It equals `mix`:
        `tests/parity/test_fast_forms.py`, `test_cross_attention_folded`.
        """
        to_key = self.k_proj.weight.unflatten(0, (self.heads, -1))  # (h, c, e)
        to_value = self.v_proj.weight.unflatten(0, (self.heads, -1))
        folded = torch.einsum("skhc,hce->skhe", q, to_key).flatten(1, 2)  # (S, K h, e)
        scale = q.shape[-1] ** -0.5
        mixed = F.scaled_dot_product_attention(folded, visual, visual, scale=scale)
        mixed = mixed.unflatten(1, (-1, self.heads))  # (S, K, h, e)
        return torch.einsum("skhe,hce->skhc", mixed, to_value)


class PromptingBlock(nn.Module):
    """A pre-norm residual block of the text: cross-attention to visual tokens, then an MLP.

    Labels do not see one another.
    """

    def __init__(self, text_width: int, *, heads: int) -> None:
        """`heads` must divide `text_width`; weights are drawn from a cut normal, biases are 0."""
        super().__init__()
        self.norm_text = nn.LayerNorm(text_width)
        self.attention = CrossAttention(text_width, heads=heads)
        self.norm_mlp = nn.LayerNorm(text_width)
        self.mlp = nn.Sequential(
            nn.Linear(text_width, 4 * text_width),
            QuickGELU(),
            nn.Linear(4 * text_width, text_width),
        )
        for module in (*self.attention.modules(), *self.mlp.modules()):
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-2.0, b=2.0)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def update(
        self, text: Float[Tensor, "S K e"], visual: Float[Tensor, "S n e"]
    ) -> Float[Tensor, "S K e"]:
        """The text after both residuals; `visual` is normed already."""
        updated = text + self.attention(self.norm_text(text), visual)
        return updated + self.mlp(self.norm_mlp(updated))
