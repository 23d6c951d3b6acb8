"""What the video-level methods' own settings have in common. Light: no torch here."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from stclip.config import Params
from stclip.inputs.sampling import SAMPLERS, VIEWS_DIFFER


def known_sampling(rule: str) -> str:
    """The name of a sampling rule, if there is such a one."""
    if rule not in SAMPLERS:
        raise ValueError(f"known rules are {sorted(SAMPLERS)}, found {rule!r}")
    return rule


class VideoMethodConfig(Params):
    """Which frames are looked at; the methods add their own."""

    num_frames: int = Field(default=8, ge=1)
    """frames of a clip, or of a person's track, that are looked at"""
    sampling: str = "spread"
    """the rule that chooses them, of `stclip/inputs/sampling.py`"""
    views: int = Field(default=1, ge=1)
    """drawings of frames a clip is scored by, probabilities averaged; with a rule that draws"""
    unit: Literal["clip", "tracklet"] = "clip"
    """what is classified: a clip, or each person's track"""
    crops: bool = False
    """of a tracklet: the person cut out, not the whole frame"""

    _known_sampling = field_validator("sampling")(known_sampling)

    @model_validator(mode="after")
    def _views_and_crops_do_something(self) -> "VideoMethodConfig":
        if self.views > 1 and self.sampling not in VIEWS_DIFFER:
            raise ValueError(
                f"views is {self.views}, but sampling {self.sampling} chooses the same frames for "
                f"each; views need one of {sorted(VIEWS_DIFFER)}"
            )
        if self.crops and self.unit == "clip":
            raise ValueError("crops are of a person's track: they need unit tracklet, found clip")
        return self
