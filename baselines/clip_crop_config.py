"""The person-crop baseline's own settings. Light: no torch here."""

from baselines.clip_frame_config import ClipFrameConfig


class ClipCropConfig(ClipFrameConfig):
    """Whether the whole frame counts too."""

    with_frame: bool = False
    """a person's similarity is the mean of the crop's and the whole key frame's"""
