"""What a file of annotations says, before anybody has looked at the videos.

Every format is read to one table, a row for each label of a box (or for a box without label):

- `video`: as the file names it;
- `frame`: its number as the file counts, or NaN where it names a time;
- `second`: that time, from the start of the video, or NaN;
- `x1` to `y2`: four numbers as the file has them (`unit`, `box_format`), all NaN where the label is
  of the whole picture;
- `person`: who it is in the video, "" where the file does not say it;
- `label`: a name or a number as text, "" where there is none;
- `place`: where the row stands, for messages.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError
from stclip.records import BOX_COLUMNS
from stclip.storage.numbers import as_numbers

Unit = Literal["pixels", "fractions"]
BoxFormat = Literal["xyxy", "xywh"]
COLUMNS = ["video", "frame", "second", *BOX_COLUMNS, "person", "label", "place"]
_NUMBER = r"(?:frame|img|image)?[_-]?(?P<frame>\d+)(?:\.[A-Za-z]\w*)?"
# <video>_000012.jpg, <video>/img_00012.png, <video>-frame0012.jpg
PICTURE_NAME = rf"(?P<video>.+?)[/_-]{_NUMBER}"
NUMBER_NAME = rf"(?:.*[/_-])?{_NUMBER}"  # where the video is known


@dataclass(frozen=True, kw_only=True)
class ReadAs:
    """How a file is to be read, as far as a person says it; None: as its format has it."""

    unit: Unit | None = None
    box_format: BoxFormat | None = None
    first_frame: int | None = None  # the number of a video's first frame
    label_attribute: str | None = None  # that holds the label
    picture_names: str | None = None  # expression with groups `video` and `frame`
    video: str | None = None  # that the whole file is of

    @property
    def given(self) -> dict[str, Any]:
        """What is said, by name."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Found:
    """The rows of one file, and what was passed over, by why."""

    rows: pd.DataFrame
    unit: Unit
    box_format: BoxFormat
    first_frame: int
    passed_over: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """The columns are there, in their order."""
        assert list(self.rows) == COLUMNS, list(self.rows)


@dataclass(frozen=True)
class Format:
    """A format: its name, what it is, which of `ReadAs` it leaves open, how it is told and read."""

    name: str
    title: str
    takes: frozenset[str]
    looks_like: Callable[[bytes], bool]
    read: Callable[[bytes, Path, ReadAs], Found]

    def check(self, read_as: ReadAs) -> None:
        """Refuse what the format itself says.

        Raises:
            ConfigError: it is given all the same.
        """
        wrong = sorted(read_as.given.keys() - self.takes)
        if wrong:
            raise ConfigError(
                f"format {self.name} ({self.title}): {_options(wrong)} cannot be given, as the "
                f"format says it itself; it takes {_options(sorted(self.takes)) or 'none'}."
            )


def _options(names: Sequence[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def rows_from(
    values: Sequence[tuple[str, float, float, Sequence[float], str, str, str]],
) -> pd.DataFrame:
    """The table of (video, frame, second, box of four, person, label, place)."""
    table = pd.DataFrame(
        [(v, f, s, *box, person, label, place) for v, f, s, box, person, label, place in values],
        columns=COLUMNS,
    )
    numbers = ["frame", "second", *BOX_COLUMNS]
    return table.astype(dict.fromkeys(numbers, "float64"))


def box_of(values: Sequence[Any], where: str) -> list[float]:
    """Four finite numbers.

    Raises:
        DataError: they are not.
    """
    if len(values) != len(BOX_COLUMNS):
        raise DataError(f"{where}: box {list(values)!r} has {len(values)} numbers, not four.")
    return as_numbers(list(values), "number of a box", where).tolist()


def picture_place(
    name: str, read_as: ReadAs, where: str, *, video: str | None = None
) -> tuple[str, float]:
    """The video and the number of a frame, from the name of its picture.

    `video`: what the file says of it; `read_as.video` goes before.

    Raises:
        ConfigError: the expression has no such groups. DataError: the name does not match it.
    """
    video = read_as.video or video
    pattern = read_as.picture_names or (NUMBER_NAME if video else PICTURE_NAME)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--picture-names {pattern!r}: no expression ({error}).") from None
    wanted = {"frame"} if video else {"video", "frame"}
    if not wanted <= expression.groupindex.keys():
        raise ConfigError(
            f"--picture-names {pattern!r}: has groups {sorted(expression.groupindex)}; "
            "(?P<video>...) and (?P<frame>...) are needed."
        )
    match = expression.fullmatch(name)
    if match is None or not match["frame"].isdecimal():
        raise DataError(
            f"{where}: picture {name!r} is not called <video>_<frame>.<suffix> (expression "
            f"{pattern!r}); say how with --picture-names."
        )
    return video or match["video"], float(match["frame"])


NOTHING = [np.nan] * len(BOX_COLUMNS)  # in place of a box
