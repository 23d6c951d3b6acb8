"""What reads frames for a method: pictures, or the stored features that stand for them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from stclip.config import Augmentation, MethodConfig
from stclip.errors import ConfigError
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.stored_features import BoxFeatures, FrameFeatures, StoredFeatures
from stclip.methods.contract import Method
from stclip.records import Data


def make_reader(
    method: Method,
    config: MethodConfig,
    data: Data,
    *,
    kinds_of_boxes: Sequence[str],
    read: Callable[[str, int], Image.Image] | None = None,
) -> FrameReader:
    """What reads frames for a method, as its configuration says.

    Args:
        method: whose pictures are read.
        config: says which of them are stored features.
        data: where frames, boxes and stored features are.
        kinds_of_boxes: those that are looked at: "ground_truth", "detections".
        read: gives the picture of a clip's frame, where no folder of frames does.

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
    if config.train.augmentation != Augmentation():
        if method.inputs.boxes:
            raise ConfigError(
                f"method {config.name}: boxes do not follow what train.augmentation changes; leave "
                "it out."
            )
        if method.inputs.unit == "person":
            raise ConfigError(
                f"method {config.name} looks at key frames, which train.augmentation leaves as "
                "they are; leave it out."
            )

    def path_of(what: str) -> Path:
        if what not in data.features:
            raise ConfigError(
                f"method {config.name} reads stored features; give --features {what}=FILE."
            )
        return data.features[what]

    def of_boxes(what: str) -> BoxFeatures:
        return BoxFeatures(path_of(what), table=data.table_of(what), config=config)

    kinds = config.features
    stored = StoredFeatures(
        frames=FrameFeatures(path_of("frames"), clips=data.clips, config=config)
        if "frames" in kinds
        else None,
        boxes={what: of_boxes(what) for what in kinds_of_boxes} if "boxes" in kinds else {},
        objects=of_boxes("objects") if "objects" in kinds else None,
    )
    return FrameReader(
        data.frames, method.backbone.image_size, preprocessing=config.preprocessing,
        augmentation=config.train.augmentation, stored=stored, read=read,
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
