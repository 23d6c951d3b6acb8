"""The settings of `stclip predict` as a record: how somebody's own videos are looked at."""

from pathlib import Path

from pydantic import Field

from stclip.config.method_models import TwoScores
from stclip.config.resolve import checked
from stclip.config.strict import Strict
from stclip.config.yaml_file import read_yaml


class PredictConfig(Strict):
    """What `stclip predict` takes where the command line says nothing else."""

    dataset: str
    """a file of `datasets`: its detector, its label texts and its settings of the method are
    taken"""
    method: str
    """a file of `methods`"""
    every_s: float = Field(default=1.0, gt=0)
    """seconds between key frames, in which persons are boxed and labels scored"""
    rate: float | None = Field(default=None, gt=0)
    """frames a second of which windows and clips are made; null: all of the video"""
    image_rate: float = Field(default=25.0, gt=0)
    """frames a second of a folder of images"""
    within: float | None = Field(default=0.7, ge=0)
    """keep detections of score > best of the frame - within"""
    top: int | None = Field(default=None, ge=1)
    """keep the best so many of a frame"""
    min_score: float = Field(default=0.3, ge=0, le=1)
    """detections below are dropped"""
    tracks: TwoScores = TwoScores()
    """when two boxes of neighbouring key frames are one person, as `linking.two_scores` of a data
    set"""
    patience_s: float = Field(default=2.0, gt=0)
    """seconds without a box, before a track ends; never less than a key frame"""
    short_side: int = Field(default=480, ge=32)
    """pixels of the shorter side of the pictures that are looked at, at most; memory follows"""
    clip_s: float = Field(default=10.0, gt=0)
    """seconds of video that are one clip to a method that looks at whole clips or tracks"""
    part_key_frames: int = Field(default=16, ge=1)
    """key frames that other methods get at a time; memory follows"""


def load_predict(folder: Path) -> PredictConfig:
    """`folder`/predict.yaml.

    Raises:
        ConfigError: missing, or what it says does not fit.
    """
    path = folder / "predict.yaml"
    return checked(PredictConfig, read_yaml(path), str(path))
