"""Finds the persons: runs a torchvision detector over the key frames of the test clips."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file

from stclip.config import DetectorConfig
from stclip.device import best_device
from stclip.errors import DataError
from stclip.pictures import read_frame
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Clips, Detections
from stclip.targets import resolve_target

logger = logging.getLogger(__name__)
PERSON = 1  # COCO's category, and the only one of a person detector


def detect(
    config: DetectorConfig, *, weights: Path, clips: Clips, frames: Path, key_frame_stride: int
) -> Detections:
    """Person boxes of every key frame of the official test clips, unfiltered.

    Boxes are in pixels of the frame; those under `config.score_threshold` are not kept. Frames
    without a person have no row.

    Raises:
        DataError: weights or a frame missing or damaged, or no test clip.
    """
    device = best_device()
    model = load_detector(config, weights).to(device).eval()
    test = clips.table[clips.table["official_split"] == "test"]
    wanted = [
        (clip, frame)
        for clip, num_frames in zip(test["clip"], test["num_frames"], strict=True)
        for frame in range(0, num_frames, key_frame_stride)
    ]
    if not wanted:
        raise DataError("no clip of the official test split to detect persons in; run prepare.")
    progress = Progress("detect", total=len(wanted))
    tables, empty = [], 0
    for start in range(0, len(wanted), config.batch_frames):
        keys = wanted[start : start + config.batch_frames]
        pictures = [_as_tensor(read_frame(frames, *key)).to(device) for key in keys]
        with torch.inference_mode():
            found = model(pictures)
        for (clip, frame), result in zip(keys, found, strict=True):
            persons = (result["labels"] == PERSON) & (result["scores"] >= config.score_threshold)
            empty += not bool(persons.any())
            boxes, score = (result[key][persons].cpu().numpy() for key in ("boxes", "scores"))
            table = pd.DataFrame(boxes, columns=BOX_COLUMNS)
            tables.append(table.assign(clip=clip, frame=frame, score=score))
        progress.advance(len(keys))
    detections = Detections(pd.concat(tables)[list(Detections.COLUMNS)])
    logger.info(
        "detect: %d key frames of %d clips, %d boxes, %d frames without any",
        len(wanted), len(test), len(detections), empty,
    )  # fmt: skip
    return detections


def load_detector(config: DetectorConfig, weights: Path) -> torch.nn.Module:
    """Build the detector and load its weights (.safetensors, or a state dict as torchvision's)."""
    model: torch.nn.Module = resolve_target(config.architecture)(**config.params)
    try:
        if weights.suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except FileNotFoundError:
        raise DataError(
            f"{weights}: no detector weights; the rule that makes them has not run."
        ) from None
    except Exception as error:  # each format has errors of its own
        raise DataError(f"{weights}: not the weights of {config.architecture}: {error}") from None
    return model


def _as_tensor(picture: Image.Image) -> torch.Tensor:
    """A frame as float (3, height, width) in 0..1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
