"""The paper's person-crop baseline (Huang et al. 2025, section 5.2): plain CLIP on each person.

Nothing is trained. With `with_frame`, a person's similarity is the mean of the crop's and the whole
key frame's. That is a control which costs nothing and sees both. Shape letters: see
`stclip.methods`.
"""

from jaxtyping import Float
from torch import Tensor

from baselines.clip_crop_config import ClipCropConfig
from baselines.clip_frame import as_logits
from stclip.inputs.batch import Inputs, PersonBatch
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.contract import Method


class ClipCrop(Method):
    """Cosine of each crop's feature and each label text, over the temperature."""

    takes_features = True

    Config = ClipCropConfig

    def __init__(self, backbone: Backbone, config: ClipCropConfig) -> None:
        """Keep the backbone as it is."""
        super().__init__(backbone, config)
        self.config: ClipCropConfig
        self.inputs = Inputs(unit="person", crops=True)

    def logits(self, batch: PersonBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Each box's logits."""
        similarity = cosine(self.image_features(batch.crops), text, dtype=text.dtype)  # (B, K)
        if self.config.with_frame:
            frames = cosine(self.image_features(batch.pictures), text, dtype=text.dtype)  # (U, K)
            similarity = (similarity + frames[batch.key][batch.box_sample]) / 2
        return as_logits(similarity, self.backbone, self.config)
