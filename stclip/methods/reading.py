"""What reads frames for a method: pictures, or the stored features that stand for them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from stclip.config import Augmentation, MethodConfig
from stclip.errors import ConfigError
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.stored_features import BoxFeatures, FrameFeatures, StoredFeatures
from stclip.methods.contract import Method
from stclip.records import Clips

OBJECTS = "objects"  # among the tables of boxes


def make_reader(
    method: Method,
    config: MethodConfig,
    *,
    clips: Clips,
    frames: Path,
    features: Mapping[str, Path],
    tables: Mapping[str, pd.DataFrame],
) -> FrameReader:
    """What reads frames for a method, as its configuration says.

    Args:
        method: whose pictures are read.
        config: says which of them are stored features.
        clips: of the data set.
        frames: folder of the prepared frames.
        features: files of the features stage: of "frames", of the boxes of a source, of "objects".
        tables: the boxes of each source, and the "objects", that features are of.

    Raises:
        ConfigError: stored features are asked for where they cannot stand for pictures, or no file
            is given. DataError: the file is damaged, or of other clips or boxes.
    """
    if config.objects != method.inputs.objects:
        raise ConfigError(
            f"method {config.name}: objects is {config.objects}, the method itself says "
            f"{method.inputs.objects}; set objects alike."
        )
    if config.features:
        _check_stored(method, config)
    if method.inputs.boxes and config.train.augmentation != Augmentation():
        raise ConfigError(
            f"method {config.name}: boxes do not follow what train.augmentation changes; leave it "
            "out, or look at key frames, which it leaves alone."
        )

    def path_of(what: str) -> Path:
        if what not in features:
            raise ConfigError(
                f"method {config.name} reads stored features; give --features {what}=FILE."
            )
        return features[what]

    def of_boxes(what: str) -> BoxFeatures:
        return BoxFeatures(path_of(what), table=tables[what], config=config)

    kinds = config.features
    stored = StoredFeatures(
        frames=FrameFeatures(path_of("frames"), clips=clips, config=config)
        if "frames" in kinds
        else None,
        boxes={what: of_boxes(what) for what in tables if what != OBJECTS}
        if "boxes" in kinds
        else {},
        objects=of_boxes(OBJECTS) if "objects" in kinds else None,
    )
    return FrameReader(
        frames, method.backbone.image_size, preprocessing=config.preprocessing,
        augmentation=config.train.augmentation, stored=stored,
    )  # fmt: skip


def _check_stored(method: Method, config: MethodConfig) -> None:
    """Stored features stand for pictures as they are, and only the method can say whether."""
    if not method.takes_features:
        raise ConfigError(f"method {config.name} works on pictures; set features: [].")
    if method.inputs.unit == "tracklet" and method.inputs.crops:
        raise ConfigError(
            f"method {config.name}: stored features are of whole frames; set features: [] to cut "
            "persons out, or params.crops: false."
        )
    if config.train.augmentation != Augmentation():
        raise ConfigError(
            f"method {config.name}: stored features are of frames as they are; set features: [] "
            "for train.augmentation, or no augmentation."
        )
