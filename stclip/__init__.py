"""stclip: the benchmark suite for zero-shot spatio-temporal action detection."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stclip.methods.build import load_official as load_official
    from stclip.own_videos.exports import to_fiftyone as to_fiftyone
    from stclip.own_videos.exports import to_supervision as to_supervision
    from stclip.own_videos.predictor import Predictor as Predictor
    from stclip.own_videos.predictor import predict as predict

__version__ = "0.1.0"
_LAZY = {  # name -> module, imported when it is asked for: `import stclip` stays without torch
    "Predictor": "stclip.own_videos.predictor",
    "load_official": "stclip.methods.build",
    "predict": "stclip.own_videos.predictor",
    "to_fiftyone": "stclip.own_videos.exports",
    "to_supervision": "stclip.own_videos.exports",
}


def __getattr__(name: str) -> Any:
    """What the package offers to other code, fetched when it is asked for."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'stclip' has no attribute {name!r}; it has {', '.join(_LAZY)}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
