"""What every source of boxes can do: given frames, say where the persons or the objects are.

A backend is a class that config/scales/*.yaml names (`target`); only the chosen one is imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stclip.config import DetectorConfig
from stclip.config.target import make_config, resolve_target
from stclip.errors import ConfigError, DataError
from stclip.records import Clips
from stclip.storage.listings import check_listed

Key = tuple[str, int]  # clip and 0-based frame


@dataclass(frozen=True)
class Found:
    """The persons, or the objects, of one frame, unfiltered, in the detector's order."""

    boxes_xyxy: np.ndarray  # (n, 4) float32, pixels of the frame; may reach outside it
    scores: np.ndarray  # (n,) float32, in 0..1

    def __post_init__(self) -> None:
        """Shapes, finite numbers, scores in 0..1."""
        if self.boxes_xyxy.shape != (len(self.scores), 4):
            raise DataError(
                f"boxes have shape {self.boxes_xyxy.shape}, expected ({len(self.scores)}, 4)."
            )
        if not np.isfinite(self.boxes_xyxy).all():
            bad = self.boxes_xyxy[~np.isfinite(self.boxes_xyxy).all(1)][0]
            raise DataError(f"box {bad.tolist()} is not finite.")
        wrong = ~((self.scores >= 0) & (self.scores <= 1))  # NaN is wrong too
        if wrong.any():
            raise DataError(f"score {self.scores[wrong][0]} lies outside 0..1.")


NOTHING = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class Backend(Protocol):
    """Finds persons, or with `objects: true` everything but persons.

    Its `Config`, a `stclip.config.Params`, takes the detector's `params`, `objects` among them. One
    with a model may say in `computed` in which `precision` and on which `device` it computes; one
    that imports what the package does not require names it in `libraries`, for `stclip doctor`.
    """

    needs_frames: bool  # whether `find` looks at the pictures; they are not decoded otherwise

    def __init__(
        self, config: Any, *, settings: DetectorConfig, files: Mapping[str, Path], clips: Clips
    ) -> None:
        """`files`: what the detector reads, by name; "weights" among them if it has any."""

    def find(self, keys: Sequence[Key], pictures: Sequence[np.ndarray]) -> list[Found]:
        """One `Found` per key; pictures are uint8 RGB (height, width, 3), or absent."""
        ...


def files_of(settings: DetectorConfig) -> dict[str, Path]:
    """The files a detector reads, by name: those of `files`, and "weights"."""
    weights = {} if settings.weights is None else {"weights": settings.weights}
    return {name: Path(path) for name, path in {**settings.files, **weights}.items()}


def load_backend(settings: DetectorConfig, *, files: Mapping[str, Path], clips: Clips) -> Backend:
    """Build the detector that `settings` names.

    Raises:
        ConfigError: unknown target or params, or a library that is not installed.
        DataError: a file is missing or damaged.
    """
    target: type[Backend] = resolve_target(settings.target)
    own = make_config(target, settings.params, where=f"detector {settings.target}")
    return target(own, settings=settings, files=files, clips=clips)


def needed_file(files: Mapping[str, Path], name: str, *, settings: DetectorConfig) -> Path:
    """The file of that name.

    Raises:
        ConfigError: the configuration names none. DataError: it does not exist or is damaged.
    """
    if name not in files:
        key = name if name == "weights" else f"files.{name}"
        raise ConfigError(f"detector {settings.target}: needs `{key}`, a path; none is given.")
    if not files[name].is_file():
        how = settings.by_hand or "the rule that makes it has not run."
        raise DataError(f"{files[name]}: no such file ({name} of the detector): {how}")
    check_listed(files[name])
    return files[name]
