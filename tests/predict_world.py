"""The small world of tests, made ready for predictions."""

from pathlib import Path
from typing import Any

import yaml
from conftest import World, make_world
from own_videos import encode, walkers

from stclip.own_videos.predictor import Predictor

LABELS = ("walk", "sit", "wave")


def predict_world(folder: Path) -> World:
    """The small world with settings of predictions and detectors of pictures."""
    made = make_world(folder)
    path = made.config / "scales" / "small.yaml"
    scale = yaml.safe_load(path.read_text())
    scale["detectors"] = {
        name: {"target": f"own_videos:{name.title()}", "batch_frames": 4, "score_threshold": 0.0}
        for name in ("bright", "steady")
    }
    scale["datasets"] = {"jhmdb": {"detector": "bright"}}
    path.write_text(yaml.safe_dump(scale))
    settings = {"dataset": "jhmdb", "method": "clip_frame_crop"}
    (made.config / "predict.yaml").write_text(yaml.safe_dump(settings))
    return made


def two_walk(folder: Path) -> Path:
    """Two persons for 4.5 s, ten frames a second."""
    return encode(folder / "walk.mp4", walkers(45))


def ready(world: World, method: str | None = None, **changes: Any) -> Predictor:
    """CLIP on frames and crops, or another method."""
    return Predictor(method, scale="small", config=world.config, **changes)
