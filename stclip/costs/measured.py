"""What methods cost, as records that travel from the measurement to a table; no torch here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from stclip.errors import DataError
from stclip.storage.files import read_json, write_json
from stclip.storage.seal import SEAL


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one method; seconds by the clock, reading of frames included."""

    method: str
    title: str
    order: int
    video_macs: int  # of a video of 40 frames with one person, its texts ready
    text_macs: int  # of the label texts, once per label list
    trained: int  # parameters
    iterations: int
    step_s: float | None  # median of the training steps after the first; None: nothing is trained
    score_s: float  # of a video, from its pictures
    frames_per_s: float  # of its frames, whether the method looks at all of them or not


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Of a part of a method: multiply-adds of a key frame, and trained parameters."""

    part: str
    released_macs: int
    released_trained: int
    macs: int  # of what runs here; negative where the part saves more than it adds
    trained: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Of a drawn film; seconds by the clock, reading of frames included."""

    title: str  # of the method
    devices: int  # on which the film was scored, a share on each
    key_frames: int
    persons: int  # in each of them
    seconds: float


Measured = TypeVar("Measured", Cost, PartCost, Latency)


def write_costs(path: Path, costs: Sequence[Measured], *, where: str) -> None:
    """Write what was measured; `where`: on which machine."""
    write_json(path, {"on": where, "costs": [asdict(cost) for cost in costs], **SEAL})


def read_costs(path: Path, kind: type[Measured]) -> tuple[str, list[Measured]]:
    """The machine, and what was measured on it.

    Raises:
        DataError: missing, damaged or of another version.
    """
    content = read_json(path)
    try:
        return content["on"], [kind(**cost) for cost in content["costs"]]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no measured costs of this kind of table ({error!r}); measure again."
        ) from None
