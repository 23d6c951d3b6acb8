"""The frozen CLIP's features of frames and of boxes, computed once for all who leave CLIP as it is.

A file holds those of every frame of a data set, or of the boxes of one table, of one backbone and
one preprocessing. What it was made of stands in its metadata and is checked when it is read, as is
its seal.

n rows, e joint width.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stclip.boxes.clipping import clip_to_picture
from stclip.config import MethodConfig, Preprocessing
from stclip.inputs.feed import Feed
from stclip.inputs.preprocess import crop_box, to_model
from stclip.inputs.stored_features import boxes_made_of, frames_made_of
from stclip.methods.clip.backbone import Backbone
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Clips, KeyFrames
from stclip.runtime.device import best_device
from stclip.storage.frame_store import read_frame
from stclip.storage.tensors import write_tensors

logger = logging.getLogger(__name__)
BATCH = 128  # pictures
Key = tuple[str, int]  # clip and 0-based frame
T = TypeVar("T")


def write_frame_features(
    backbone: Backbone,
    config: MethodConfig,
    clips: Clips,
    *,
    frames: Path,
    out: Path,
    workers: int = 0,
) -> None:
    """Encode every frame of the clips, in fp32, and write `out` (.safetensors).

    `frames` is the folder of the frame store; `workers` processes read ahead of the backbone.

    Raises:
        DataError: a frame is missing or damaged.
    """
    names = clips.table["clip"].tolist()
    lengths = clips.table["num_frames"].tolist()
    wanted = [(c, f) for c, n in zip(names, lengths, strict=True) for f in range(n)]

    read = partial(_whole_frames, frames, backbone.image_size, config.preprocessing)
    found = _encode(backbone, config, read, wanted, workers=workers)
    _write(out, found, np.arange(len(found)), frames_made_of(config, clips))
    logger.info("features: %d frames of %d clips, %d wide", *(len(found), len(names), len(found.T)))


def write_box_features(
    backbone: Backbone,
    config: MethodConfig,
    clips: Clips,
    *,
    key_frames: KeyFrames,
    table: pd.DataFrame,
    frames: Path,
    out: Path,
    workers: int = 0,
) -> None:
    """Encode the boxes of `table` that trainings and scorings ask for; as `write_frame_features`.

    These are the boxes on key frames, clipped to the picture; those without area then are left
    out.
    """
    boxes = clip_to_picture(table[key_frames.contain(table)], clips)
    # Neighbours in the video lie side by side on the disk.
    boxes = boxes.sort_values(["clip", "frame"], kind="stable")
    keys = list(zip(boxes["clip"], boxes["frame"].tolist(), strict=True))
    wanted = list(zip(keys, boxes[BOX_COLUMNS].to_numpy(np.float32), strict=True))
    read = partial(_crops, frames, backbone.image_size, config.preprocessing)
    found = _encode(backbone, config, read, wanted, workers=workers)
    rows = boxes.index.to_numpy(np.int64)
    order = np.argsort(rows)
    _write(out, found[order], rows[order], boxes_made_of(config, table))
    logger.info("features: %d of %d boxes, %d wide", len(found), len(table), found.shape[1])


def _whole_frames(
    frames: Path, size: tuple[int, int], how: Preprocessing, wanted: Sequence[Key]
) -> Tensor:
    """Frames for the model, uint8 (pictures, 3, H, W)."""
    pictures = [to_model(read_frame(frames, *key), size, how) for key in wanted]
    return torch.from_numpy(np.stack(pictures))


def _crops(
    frames: Path,
    size: tuple[int, int],
    how: Preprocessing,
    wanted: Sequence[tuple[Key, np.ndarray]],
) -> Tensor:
    """Boxes cut out of frames for the model, uint8 (pictures, 3, H, W)."""
    pictures = [crop_box(read_frame(frames, *key), box, size, how) for key, box in wanted]
    return torch.from_numpy(np.stack(pictures))


def _encode(
    backbone: Backbone,
    config: MethodConfig,
    read: Callable[[Sequence[T]], Tensor],
    wanted: Sequence[T],
    *,
    workers: int,
) -> np.ndarray:
    """Features (n, e) of the pictures that `read` makes of what is wanted."""
    device = best_device()
    backbone = backbone.to(device)
    backbone.normalise_by(config.preprocessing.statistics)
    found = np.zeros((len(wanted), backbone.embed_dim), np.float32)
    progress = Progress("features", total=len(wanted))
    batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    done = 0
    for pictures in Feed(read, batches, workers=workers):
        with torch.inference_mode():
            encoded = backbone.encode_images(pictures.to(device, non_blocking=True))
        found[done : done + len(pictures)] = encoded.cpu().numpy()
        done += len(pictures)
        progress.advance(len(pictures))
    return found


def _write(out: Path, found: np.ndarray, rows: np.ndarray, made_of: dict[str, str]) -> None:
    tensors = {"features": found, "rows": rows.astype(np.int64)}
    write_tensors(out, tensors, **made_of)
