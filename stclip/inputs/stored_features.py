"""Reads the stored features of frames and of boxes; what they were made of is checked.

n rows, e joint width.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.config import BackboneConfig, MethodConfig
from stclip.config.hashes import crop_encoder, frame_encoder
from stclip.errors import ConfigError, DataError
from stclip.records import BOX_COLUMNS, Clips
from stclip.runtime.identity import backbone_content
from stclip.storage.tensors import read_arrays


class Features:
    """The rows of a file of features."""

    def __init__(self, path: Path, *, made_of: dict[str, str]) -> None:
        """Open a file.

        Raises:
            DataError: missing or damaged, or of other frames or boxes. ConfigError: of another
                backbone or preprocessing.
        """
        self.path = path
        arrays, found = read_arrays(path, stage="features")
        self._features, self._rows = arrays["features"], arrays["rows"]
        if found.get("items") != made_of["items"]:
            raise DataError(
                f"{path}: features of other clips or boxes; delete it, it is made anew."
            )
        for what in ("encoder", "files"):
            if found.get(what) != made_of[what]:
                raise ConfigError(
                    f"{path}: features of {what} {found.get(what)}, asked for are those of "
                    f"{what} {made_of[what]}; run the features stage."
                )

    def of_rows(self, wanted: np.ndarray) -> np.ndarray:
        """Features (n, e), not normalised.

        Raises:
            DataError: a row has none.
        """
        places = np.searchsorted(self._rows, wanted)
        inside = places < len(self._rows)
        known = np.zeros(len(wanted), bool)
        known[inside] = self._rows[places[inside]] == wanted[inside]
        if not known.all():
            raise DataError(
                f"{self.path}: no feature of row {wanted[~known][0]}; delete it, it is made anew."
            )
        found: np.ndarray = self._features[places]
        return found


class FrameFeatures(Features):
    """The stored features of a data set's frames."""

    def __init__(self, path: Path, *, clips: Clips, config: MethodConfig) -> None:
        """Open a file of `write_frame_features`; raises as `Features`."""
        super().__init__(path, made_of=frames_made_of(config, clips))
        lengths = clips.table["num_frames"].to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()
        self._starts = dict(zip(clips.table["clip"], starts, strict=True))

    def of(self, keys: Sequence[tuple[str, int]]) -> np.ndarray:
        """Features (n, e) of clips' 0-based frames; raises as `of_rows`."""
        return self.of_rows(np.array([self._starts[clip] + frame for clip, frame in keys]))


class BoxFeatures(Features):
    """The stored features of the boxes of a table, by their rows in it."""

    def __init__(self, path: Path, *, table: pd.DataFrame, config: MethodConfig) -> None:
        """Open a file of `write_box_features`; raises as `Features`."""
        super().__init__(path, made_of=boxes_made_of(config, table))


@dataclass(frozen=True)
class StoredFeatures:
    """What a method reads in place of pictures."""

    frames: FrameFeatures | None = None
    boxes: dict[str, BoxFeatures] = field(default_factory=dict)  # by the source of boxes
    objects: BoxFeatures | None = None


def frames_made_of(config: MethodConfig, clips: Clips) -> dict[str, str]:
    """What a file of frames' features says of itself."""
    columns = ["clip", "num_frames", "height", "width"]
    return _made_of(frame_encoder(config), config.backbone, clips.table[columns])


def boxes_made_of(config: MethodConfig, table: pd.DataFrame) -> dict[str, str]:
    """What a file of boxes' features says of itself."""
    columns = ["clip", "frame", *BOX_COLUMNS]
    return _made_of(crop_encoder(config), config.backbone, table[columns])


def _made_of(
    encoder: dict[str, Any], backbone: BackboneConfig, items: pd.DataFrame
) -> dict[str, str]:
    hashed = pd.util.hash_pandas_object(items, index=False).to_numpy()
    return {
        "encoder": json.dumps(encoder, sort_keys=True),
        "files": json.dumps(backbone_content(backbone), sort_keys=True),
        "items": hashlib.sha256(hashed.tobytes()).hexdigest(),
    }
