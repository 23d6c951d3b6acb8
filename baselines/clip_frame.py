"""The paper's baseline (Huang et al. 2025, section 5.2): plain CLIP on the whole key frame.

Nothing is trained. Everyone in a frame gets the frame's similarity to the label texts.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from stclip.method import Batch, Inputs, Method
from stclip.model.backbone import Backbone, cosine


class ClipFrame(Method):
    """Cosine of the full frame's feature and each label text, times CLIP's own logit scale."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No hyper-parameters."""

    def __init__(self, backbone: Backbone, config: Config) -> None:
        """Keep the backbone as it is."""
        super().__init__(backbone, config)
        self.inputs = Inputs(unit="person")

    def forward(self, batch: Batch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """The frame's logits, repeated for each of its boxes."""
        patches = self.backbone.patches(batch.images[batch.key])
        frame = self.backbone.project(self.backbone.encode(patches))  # (S, e)
        logits = self.backbone.logit_scale * cosine(frame, text, dtype=text.dtype)  # (S, K)
        return logits[batch.box_sample]
