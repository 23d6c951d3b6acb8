"""ViCLIP's own settings. Light: no torch here."""

from typing import Literal

from pydantic import Field, field_validator

from stclip.config import Params
from stclip.methods.layers.video_config import known_sampling


class ViCLIPConfig(Params):
    """Hyper-parameters; what the paper leaves open stands in docs/deviations.md."""

    num_frames: int = Field(default=8, ge=1)
    """frames that the video encoder looks at"""
    around: Literal["clip", "key_frame"] = "clip"
    """one map a video, or one a key frame"""
    sampling: str = "spread"
    """of the frames of a clip; a rule of `stclip/inputs/sampling.py`"""
    project: Literal["after", "before"] = "after"
    """projected after the pooling, whose maximum is not linear, or before it"""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """of the last block while training"""
    temperature: float = Field(default=0.01, gt=0)
    """cosines are divided by it"""
    learn_temperature: bool = False
    """learn it, from that of the weights if they have one; at least 0.01"""

    _known_sampling = field_validator("sampling")(known_sampling)
