"""CLIP's features of whole frames, computed once for all methods that leave CLIP as it is.

A file holds those of every frame of a data set, of one backbone and one preprocessing; what it was
made of stands in its metadata and is checked when it is read, and every clip has a checksum.

F frames of all clips, e joint width.
"""

import hashlib
import json
import logging
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from stclip.config import MethodConfig
from stclip.device import best_device
from stclip.errors import ConfigError, DataError
from stclip.files import whole_file
from stclip.model.backbone import Backbone
from stclip.pictures import read_frame
from stclip.preprocess import to_model
from stclip.progress import Progress
from stclip.records import Clips

logger = logging.getLogger(__name__)
BATCH = 128  # frames


def write_features(
    backbone: Backbone, config: MethodConfig, *, clips: Clips, frames: Path, out: Path
) -> None:
    """Encode every frame of `clips`, in fp32, and write `out` (.safetensors).

    Raises:
        DataError: a frame is missing or damaged.
    """
    backbone = backbone.to(best_device())
    backbone.normalise_by(config.preprocessing.statistics)
    names = clips.table["clip"].tolist()
    lengths = clips.table["num_frames"].to_numpy()
    wanted = [(c, f) for c, n in zip(names, lengths.tolist(), strict=True) for f in range(n)]
    found = np.zeros((len(wanted), backbone.embed_dim), np.float32)
    progress = Progress("features", total=len(wanted))
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        pictures = np.stack(
            [
                to_model(
                    read_frame(frames, *key),
                    backbone.image_size,
                    enlarge=config.preprocessing.enlarge,
                    interpolation=config.preprocessing.interpolation,
                )
                for key in part
            ]
        )
        with torch.inference_mode():
            encoded = backbone.encode_images(torch.from_numpy(pictures).to(best_device()))
        found[start : start + len(part)] = encoded.cpu().numpy()
        progress.advance(len(part))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    checksums = [zlib.crc32(found[a:b].tobytes()) for a, b in pairwise(starts)]
    tensors: dict[str, np.ndarray] = {
        "features": found,
        "starts": starts,
        "crc32": np.array(checksums, np.int64),
    }
    with whole_file(out) as path:
        path.write_bytes(serialize(tensors, metadata=_made_of(config, clips)))
    logger.info("features: %d frames of %d clips, %d wide", len(found), len(names), found.shape[1])


class Features:
    """The stored features of a data set's frames."""

    def __init__(
        self, path: Path, found: np.ndarray, starts: np.ndarray, checksums: np.ndarray, clips: Clips
    ) -> None:
        """Use `read`."""
        self.path = path
        self._found, self._starts, self._checksums = found, starts, checksums
        self._numbers = {clip: i for i, clip in enumerate(clips.table["clip"])}
        self._whole: set[int] = set()

    @classmethod
    def read(cls, path: Path, *, clips: Clips, config: MethodConfig) -> "Features":
        """Open a file of `write_features`.

        Raises:
            DataError: missing or damaged, or of other clips. ConfigError: of another backbone or
                preprocessing.
        """
        try:
            with safe_open(path, "np") as file:
                made_of = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            found, starts, checksums = (arrays[k] for k in ("features", "starts", "crc32"))
        except FileNotFoundError:
            raise DataError(f"{path}: no features; run the features stage.") from None
        except (SafetensorError, KeyError) as error:
            raise DataError(
                f"{path}: damaged features ({error}); delete it, it is made anew."
            ) from None
        wanted = _made_of(config, clips)
        if made_of.get("clips") != wanted["clips"]:
            raise DataError(f"{path}: features of other clips; delete it, it is made anew.")
        if made_of.get("encoder") != wanted["encoder"]:
            raise ConfigError(
                f"{path}: features of {made_of.get('encoder')}, asked for are those of "
                f"{wanted['encoder']}; run the features stage."
            )
        return cls(path, found, starts, checksums, clips)

    def of(self, clip: str, frame: int) -> np.ndarray:
        """The feature (e,) of a 0-based frame, not normalised.

        Raises:
            DataError: the clip's features do not have the checksum they were written with.
        """
        number = self._numbers[clip]
        first, end = int(self._starts[number]), int(self._starts[number + 1])
        if number not in self._whole:
            if zlib.crc32(self._found[first:end].tobytes()) != self._checksums[number]:
                raise DataError(
                    f"{self.path}: damaged features of clip {clip!r}; delete it, it is made anew."
                )
            self._whole.add(number)
        assert 0 <= frame < end - first, f"{clip} has no frame {frame}"
        row: np.ndarray = self._found[first + frame]
        return row


def _made_of(config: MethodConfig, clips: Clips) -> dict[str, str]:
    encoder = {
        "backbone": config.backbone.model_dump(),
        "preprocessing": config.preprocessing.model_dump(),
    }
    rows = clips.table[["clip", "num_frames", "height", "width"]].to_csv(index=False)
    return {
        "encoder": json.dumps(encoder, sort_keys=True),
        "clips": hashlib.sha256(rows.encode()).hexdigest(),
    }
