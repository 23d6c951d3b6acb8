"""X-CLIP's own settings. Light: no torch here."""

from pydantic import Field

from stclip.methods.layers.video_config import VideoMethodConfig


class XCLIPConfig(VideoMethodConfig):
    """Hyper-parameters; where papers and released code differ see docs/deviations.md."""

    sampling: str = "xclip_whole"
    """the rule that chooses them; `xclip`: as released, which never trains on a clip's tail"""
    mit_layers: int = Field(default=1, ge=1)
    """of the multi-frame integration transformer"""
    prompt_layers: int = Field(default=1, ge=1)
    """of the video-specific prompting; released: 2"""
    alpha: float = 0.1
    """initial weight of the prompting, of every channel"""
