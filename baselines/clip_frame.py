"""The paper's baseline (Huang et al. 2025, section 5.2): plain CLIP on the whole key frame.

Nothing is trained. Everyone in a frame gets the frame's similarity to the label texts. Shape
letters: see `stclip.methods`.
"""

from jaxtyping import Float
from torch import Tensor

from baselines.clip_frame_config import ClipFrameConfig
from stclip.inputs.batch import Inputs, PersonBatch
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.contract import Method


class ClipFrame(Method):
    """Cosine of the full frame's feature and each label text, over the temperature."""

    takes_features = True

    Config = ClipFrameConfig

    def __init__(self, backbone: Backbone, config: ClipFrameConfig) -> None:
        """Keep the backbone as it is."""
        super().__init__(backbone, config)
        self.config: ClipFrameConfig
        self.inputs = Inputs(unit="person")

    def logits(self, batch: PersonBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """The frame's logits, repeated for each of its boxes."""
        frames, which = batch.key.unique(return_inverse=True)
        similarity = cosine(self.image_features(batch.pictures)[frames], text, dtype=text.dtype)
        return as_logits(similarity, self.backbone, self.config)[which][batch.box_sample]


def as_logits(
    similarity: Float[Tensor, "B K"], backbone: Backbone, config: ClipFrameConfig
) -> Float[Tensor, "B K"]:
    """Cosines over the temperature, or times CLIP's own logit scale."""
    if config.temperature is None:
        return backbone.logit_scale * similarity
    return similarity / config.temperature
