"""Vita-CLIP's own settings. Light: no torch here."""

from math import log
from typing import Literal

from pydantic import Field

from stclip.methods.layers.video_config import VideoMethodConfig


class VitaCLIPConfig(VideoMethodConfig):
    """Hyper-parameters; docs/deviations.md tells where paper and official code differ."""

    num_global: int = Field(default=8, ge=1)
    """global prompts of each block"""
    context_length: int = Field(default=8, ge=0)
    """learned vectors before a name, the same for all; 0: none"""
    use_global: bool = True
    """whether there are global prompts, the same for all clips"""
    use_local: bool = True
    """whether there are local prompts, a vector per frame"""
    use_summary: bool = True
    """whether each frame sees a summary of the others"""
    train_cls_proj: bool = True
    """false: the class projection stays random, as the official code leaves it"""
    logit_scale_init: float | Literal["clip"] = log(1 / 0.07)
    """logarithm of the initial logit scale; `clip`: the backbone's own"""
    spaced_names: bool = False
    """spaces for underscores, whatever the data set's `label_text`"""
