"""What the video-level methods share: one row of logits for a clip, or a person's track.

Shape letters: see `stclip.methods`. SV is the product S * V.
"""

from abc import abstractmethod
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from stclip.errors import ConfigError
from stclip.inputs.batch import ClipBatch, Inputs
from stclip.methods.clip.backbone import Backbone
from stclip.methods.contract import Method
from stclip.methods.layers.video_config import VideoMethodConfig


class VideoMethod(Method):
    """Classifies what is seen in `num_frames` frames; everyone in the sample gets its scores."""

    Config = VideoMethodConfig

    def __init__(self, backbone: Backbone, config: VideoMethodConfig) -> None:
        """Say what the loader must decode."""
        super().__init__(backbone, config)
        self.inputs = Inputs(
            unit=config.unit,
            num_frames=config.num_frames,
            sampling=config.sampling,
            views=config.views,
            crops=config.crops,
        )

    def logits(self, batch: ClipBatch, text: Any) -> Float[Tensor, "S *V K"]:
        """A row per sample; with several views an axis for them."""
        found = self.view_logits(batch, text)  # (S * V, K), or (S * V, some, K)
        views = len(found) // len(batch.frames)
        if views == 1:
            return found
        return found.unflatten(0, (-1, views)).flatten(1, -2)

    @abstractmethod
    def view_logits(self, batch: ClipBatch, text: Any) -> Float[Tensor, "SV *some K"]:
        """A row per view of each sample, perhaps several whose probabilities are averaged."""

    def by_view(
        self, pictures: Shaped[Tensor, " U *any"], batch: ClipBatch
    ) -> Shaped[Tensor, " SV T *any"]:
        """What is known of each picture, set in order for each view.

        Raises:
            ConfigError: the batch has another number of frames than the method takes.
        """
        num_frames, given = self.config.num_frames, batch.frames.shape[1]
        if given % num_frames or not given:
            raise ConfigError(
                f"{type(self).__name__} takes {num_frames} frames of a clip (or so many of each "
                f"view), not {given}; repeat frames of a shorter clip, or set num_frames."
            )
        return pictures[batch.frames.reshape(-1, num_frames)]
