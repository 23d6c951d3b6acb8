"""The person-crop baseline's own setting. Light: no torch here."""

from stclip.config import Params


class ClipCropConfig(Params):
    """Whether the whole frame counts too."""

    with_frame: bool = False
    """a person's similarity is the mean of the crop's and the whole key frame's"""
