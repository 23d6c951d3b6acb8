"""The frozen CLIP's features of frames and of boxes, computed once for all who leave CLIP as it is.

A file holds those of every frame of a data set, or of the boxes of one table, of one backbone and
one preprocessing. What it was made of stands in its metadata and is checked when it is read, as is
its seal.

n rows, e joint width.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stclip.boxes.clipping import clip_to_picture
from stclip.config import MethodConfig
from stclip.inputs.preprocess import crop_box, to_model
from stclip.inputs.stored_features import boxes_made_of, frames_made_of
from stclip.methods.clip.backbone import Backbone
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Clips
from stclip.runtime.device import best_device
from stclip.storage.frame_store import read_frame
from stclip.storage.tensors import write_tensors

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
    _write(out, found, np.arange(len(found)), frames_made_of(config, clips))
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
    _write(out, found[order], rows[order], boxes_made_of(config, table))
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
    write_tensors(out, tensors, **made_of)
