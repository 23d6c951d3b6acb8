"""Context prompting (Huang et al. 2025, section 3.3, Eq. 4): the frame is mixed into the texts.

Shape letters: see `stclip.methods`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stclip.methods.layers.prompting import PromptingBlock


class ContextPrompting(PromptingBlock):
    """A layer: project and norm the tokens, cross-attend, MLP, add `rho` times the new text."""

    def __init__(self, width: int, text_width: int, *, heads: int, rho: float) -> None:
        """`rho`: initial value of the learned per-channel weight."""
        # The projector keeps PyTorch's default init. It is the first to draw random numbers: a
        # seed gives the same layer as ever.
        projector = nn.Linear(width, text_width)
        super().__init__(text_width, heads=heads)
        self.projector = projector
        self.norm_visual = nn.LayerNorm(text_width)
        self.rho = nn.Parameter(torch.full((text_width,), rho))

    def forward(
        self, text: Float[Tensor, "S K e"], tokens: Float[Tensor, "S n d"]
    ) -> Float[Tensor, "S K e"]:
        """Prompt the label features with the image tokens; neither side is normalised here."""
        visual = self.norm_visual(self.projector(tokens))
        return text + self.rho * self.update(text, visual)
