"""The frozen CLIP's features of frames and of boxes, computed once for all who leave CLIP as it is.

A file holds those of every frame of a data set, or of the boxes of one table, of one backbone and
one preprocessing. What it was made of stands in its metadata and is checked when it is read, as is
its seal.

n rows, e joint width.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.numpy import save as serialize

from stclip.boxes import clip_to_picture
from stclip.config import MethodConfig
from stclip.device import best_device
from stclip.errors import ConfigError, DataError
from stclip.files import whole_file
from stclip.model.backbone import Backbone
from stclip.pictures import read_frame
from stclip.preprocess import crop_box, to_model
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Clips
from stclip.seal import check_seal, sealed_tensors

logger = logging.getLogger(__name__)
BATCH = 128  # pictures


def write_frame_features(
    backbone: Backbone, config: MethodConfig, *, clips: Clips, frames: Path, out: Path
) -> None:
    """Encode every frame of `clips`, in fp32, and write `out` (.safetensors).

    Raises:
        DataError: a frame is missing or damaged.
    """
    names = clips.table["clip"].tolist()
    lengths = clips.table["num_frames"].tolist()
    wanted = [(c, f) for c, n in zip(names, lengths, strict=True) for f in range(n)]

    def picture(index: int) -> np.ndarray:
        return to_model(
            read_frame(frames, *wanted[index]), backbone.image_size, config.preprocessing
        )

    found = _encode(backbone, config, len(wanted), picture)
    _write(out, found, np.arange(len(found)), _frames_made_of(config, clips))
    logger.info("features: %d frames of %d clips, %d wide", *(len(found), len(names), len(found.T)))


def write_box_features(
    backbone: Backbone,
    config: MethodConfig,
    *,
    table: pd.DataFrame,
    clips: Clips,
    stride: int,
    frames: Path,
    out: Path,
) -> None:
    """Encode the boxes of `table` that trainings and scorings ask for; as `write_frame_features`.

    These are all of official training clips and those on every `stride`-th frame of the others,
    clipped to the picture; those without area then are left out.
    """
    of_train = clips.table.loc[clips.table["official_split"] == "train", "clip"]
    kept = table["clip"].isin(set(of_train)) | (table["frame"] % stride == 0)
    boxes = clip_to_picture(table[kept], clips)
    boxes = boxes[(boxes["x2"] > boxes["x1"]) & (boxes["y2"] > boxes["y1"])]
    # Neighbours in the video lie side by side on the disk.
    boxes = boxes.sort_values(["clip", "frame"], kind="stable")
    keys = list(zip(boxes["clip"], boxes["frame"].tolist(), strict=True))
    corners, how = boxes[BOX_COLUMNS].to_numpy(np.float32), config.preprocessing

    def picture(index: int) -> np.ndarray:
        return crop_box(
            read_frame(frames, *keys[index]), corners[index], backbone.image_size,
            mode=how.crop_mode, scale=how.crop_scale,
        )  # fmt: skip

    found = _encode(backbone, config, len(boxes), picture)
    rows = boxes.index.to_numpy(np.int64)
    order = np.argsort(rows)
    _write(out, found[order], rows[order], _boxes_made_of(config, table))
    logger.info("features: %d of %d boxes, %d wide", len(found), len(table), found.shape[1])


def _encode(
    backbone: Backbone, config: MethodConfig, count: int, picture: Callable[[int], np.ndarray]
) -> np.ndarray:
    """Features (n, e) of `count` pictures."""
    device = best_device()
    backbone = backbone.to(device)
    backbone.normalise_by(config.preprocessing.statistics)
    found = np.zeros((count, backbone.embed_dim), np.float32)
    progress = Progress("features", total=count)
    for start in range(0, count, BATCH):
        part = range(start, min(start + BATCH, count))
        pictures = torch.from_numpy(np.stack([picture(index) for index in part]))
        with torch.inference_mode():
            found[start : part.stop] = backbone.encode_images(pictures.to(device)).cpu().numpy()
        progress.advance(len(part))
    return found


def _write(out: Path, found: np.ndarray, rows: np.ndarray, made_of: dict[str, str]) -> None:
    tensors = {"features": found, "rows": rows.astype(np.int64)}
    with whole_file(out) as path:
        path.write_bytes(sealed_tensors(serialize(tensors), **made_of))


class Features:
    """The rows of a file of features."""

    def __init__(self, path: Path, *, made_of: dict[str, str]) -> None:
        """Open a file.

        Raises:
            DataError: missing or damaged, or of other frames or boxes. ConfigError: of another
                backbone or preprocessing.
        """
        self.path = path
        try:
            check_seal(path.read_bytes(), path)
            with safe_open(path, "np") as file:
                found = file.metadata()
                self._features, self._rows = map(file.get_tensor, ("features", "rows"))
        except FileNotFoundError:
            raise DataError(f"{path}: no features; run the features stage.") from None
        if found.get("items") != made_of["items"]:
            raise DataError(
                f"{path}: features of other clips or boxes; delete it, it is made anew."
            )
        if found.get("encoder") != made_of["encoder"]:
            raise ConfigError(
                f"{path}: features of {found.get('encoder')}, asked for are those of "
                f"{made_of['encoder']}; run the features stage."
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
        super().__init__(path, made_of=_frames_made_of(config, clips))
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
        super().__init__(path, made_of=_boxes_made_of(config, table))


@dataclass(frozen=True)
class StoredFeatures:
    """What a method reads in place of pictures."""

    frames: FrameFeatures | None = None
    boxes: dict[str, BoxFeatures] = field(default_factory=dict)  # by the source of boxes
    objects: BoxFeatures | None = None


def _frames_made_of(config: MethodConfig, clips: Clips) -> dict[str, str]:
    columns = ["clip", "num_frames", "height", "width"]
    return _made_of(config, clips.table[columns], leave_out={"crop_mode", "crop_scale"})


def _boxes_made_of(config: MethodConfig, table: pd.DataFrame) -> dict[str, str]:
    left_out = {"frame_mode", "enlarge", "interpolation"}
    return _made_of(config, table[["clip", "frame", *BOX_COLUMNS]], leave_out=left_out)


def _made_of(config: MethodConfig, items: pd.DataFrame, *, leave_out: set[str]) -> dict[str, str]:
    encoder = {
        "backbone": config.backbone.model_dump(),
        "preprocessing": config.preprocessing.model_dump(exclude=leave_out),
    }
    hashed = pd.util.hash_pandas_object(items, index=False).to_numpy()
    return {
        "encoder": json.dumps(encoder, sort_keys=True),
        "items": hashlib.sha256(hashed.tobytes()).hexdigest(),
    }
