"""ActionCLIP's own settings. Light: no torch here."""

from pydantic import Field, model_validator

from stclip.config.fields import Templates
from stclip.methods.layers.video_config import VideoMethodConfig

TEMPLATES = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)


class ActionCLIPConfig(VideoMethodConfig):
    """Size of the head, and what surrounds a class name."""

    sampling: str = "actionclip"
    """the rule that chooses them, of `stclip/inputs/sampling.py`"""
    layers: int = Field(default=6, ge=1)
    """of the transformer over frames"""
    positions: int = Field(default=8, ge=1)
    """rows of the position table, at least `num_frames`; 77 as released, of which those are read"""
    zero_init: bool = False
    """blocks begin as the identity; not so in the official code"""
    templates: Templates = Field(default=list(TEMPLATES))
    """texts around a class name, which stands for `{}`; as released, 16"""

    @model_validator(mode="after")
    def _every_frame_has_a_position(self) -> "ActionCLIPConfig":
        if self.positions < self.num_frames:
            raise ValueError(
                f"positions is {self.positions}, num_frames is {self.num_frames}; every frame "
                "needs a position: raise positions"
            )
        return self
