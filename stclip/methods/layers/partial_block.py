"""A transformer block whose output is read for its first tokens alone."""

from typing import Any

from jaxtyping import Float
from torch import Tensor


def block_of_first(
    block: Any, first: Float[Tensor, "U n d"], normed: Float[Tensor, "U m d"]
) -> Float[Tensor, "U n d"]:
    """The first n of the m tokens that a residual attention block gives.

    Formula, for all tokens x: y = x + attention(q, k, v) with q = k = v = ln_1(x), and the output
    is y + mlp(ln_2(y)). The output of a token reads the other tokens as keys and values alone, so
    only the first n are queries here, and only they go through the MLP. It equals the block's own
    output: `tests/parity/test_fast_forms.py`, `test_a_block_for_its_first_tokens`.

    Args:
        block: of one of CLIP's towers.
        first: the first n tokens.
        normed: `ln_1` of all m tokens, the first n among them.
    """
    num_first = first.shape[1]
    out = first + block.ls_1(block.attention(normed[:, :num_first], normed, normed))
    return out + block.ls_2(block.mlp(block.ln_2(out)))
