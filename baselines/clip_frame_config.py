"""Plain CLIP on the key frame has nothing to set. Light: no torch here."""

from stclip.config import Params


class ClipFrameConfig(Params):
    """No hyper-parameters."""
