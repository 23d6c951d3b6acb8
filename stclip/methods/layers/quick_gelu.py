"""CLIP's activation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), as in CLIP."""

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Apply it element by element."""
        return x * torch.sigmoid(1.702 * x)
