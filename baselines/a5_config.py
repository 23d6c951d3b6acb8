"""A5's own settings. Light: no torch here."""

from pydantic import Field

from stclip.methods.layers.video_config import VideoMethodConfig


class A5Config(VideoMethodConfig):
    """Sizes of what is learned."""

    num_frames: int = Field(default=16, ge=1)
    """frames of a clip, or of a person's track, that are looked at"""
    layers: int = Field(default=2, ge=0)
    """of the transformer over frames; 0: the mean of the frames"""
    prefix: int = Field(default=16, ge=0)
    """learned vectors in front of a name"""
    postfix: int = Field(default=16, ge=0)
    """and behind it"""
    normalise: bool = True
    """similarity is cosine / temperature, else the bare product"""
    temperature: float = Field(default=0.07, gt=0)
    """fixed; CLIP's own logit scale is not used"""
