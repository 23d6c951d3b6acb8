"""The one setting of plain CLIP. Light: no torch here."""

from pydantic import Field

from stclip.config import Params


class ClipFrameConfig(Params):
    """How similarities become logits."""

    temperature: float | None = Field(default=None, gt=0)
    """that cosines are divided by; null: CLIP's own logit scale. Sigmoids of that are 1 to the last
    digit, so labels that do not share a softmax need one"""
