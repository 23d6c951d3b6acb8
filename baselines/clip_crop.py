"""The paper's person-crop baseline (Huang et al. 2025, section 5.2): plain CLIP on each person.

Nothing is trained. With `with_frame` a person's similarity is the mean of that of the crop and of
the whole key frame: a control that costs nothing and sees both.

S key frames, B boxes, K labels, e joint width.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from stclip.inputs.batch import Batch, Inputs
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.contract import Method


class ClipCrop(Method):
    """Cosine of each crop's feature and each label text, times CLIP's own logit scale."""

    takes_features = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Whether the whole frame counts too."""

        with_frame: bool = False

    def __init__(self, backbone: Backbone, config: Config) -> None:
        """Keep the backbone as it is."""
        super().__init__(backbone, config)
        self.config: ClipCrop.Config
        self.inputs = Inputs(unit="person", crops=True)

    def logits(self, batch: Batch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Each box's logits."""
        similarity = cosine(self.crop_features(batch), text, dtype=text.dtype)  # (B, K)
        if self.config.with_frame:
            assert batch.key is not None
            frames = cosine(self.frame_features(batch), text, dtype=text.dtype)  # (U, K)
            similarity = (similarity + frames[batch.key][batch.box_sample]) / 2
        return self.backbone.logit_scale * similarity
