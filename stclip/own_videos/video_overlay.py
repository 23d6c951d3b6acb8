"""Writes a video with the persons drawn into it, as H.264 or, where that is missing, MPEG-4.

Between key frames a person's box moves evenly from one to the next; labels are those of the nearer
key frame.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from stclip.errors import ConfigError, DataError
from stclip.own_videos.found_persons import Prediction
from stclip.own_videos.person_marks import Marked, mark_persons
from stclip.records import BOX_COLUMNS
from stclip.report.lettering import font
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
ENCODERS = ("libx264", "libopenh264", "mpeg4")  # the first that this PyAV has
MOST_RATE = 30  # frames/s of an overlay, at most
SMALL, LARGE = 360, 1080  # pixels of the shorter side: smaller is enlarged, larger made smaller
_BEST = 3  # labels of a person


@dataclass(frozen=True)
class _Way:
    """How a track moves."""

    track: int
    times: np.ndarray  # (n,) seconds, rising
    boxes: np.ndarray  # (n, 4)
    rows: np.ndarray  # (n,) of `Prediction.boxes`


class Marks:
    """Who is drawn at a time."""

    def __init__(self, found: Prediction, *, hold_s: float) -> None:
        """`hold_s`: seconds that a box stands before its first and behind its last key frame."""
        self.found, self.hold_s = found, hold_s
        self._ways = [
            _Way(
                track.number,
                found.boxes["time_s"].to_numpy(float)[list(track.rows)],
                found.boxes[BOX_COLUMNS].to_numpy(float)[list(track.rows)],
                np.array(track.rows),
            )
            for track in found.tracks
        ]
        ends = [(way.times[0] - hold_s, way.times[-1] + hold_s) for way in self._ways]
        self._ends = np.array(ends).reshape(-1, 2)
        self._best: dict[int, tuple[tuple[str, float], ...]] = {}

    def at(self, time_s: float, *, scale: float = 1.0) -> list[Marked]:
        """The persons of a moment; boxes in pixels of the video times `scale`."""
        near = (self._ends[:, 0] <= time_s) & (time_s <= self._ends[:, 1])
        found = []
        for number in np.flatnonzero(near):
            way = self._ways[number]
            box = [float(np.interp(time_s, way.times, side)) * scale for side in way.boxes.T]
            row = int(way.rows[np.abs(way.times - time_s).argmin()])
            found.append(Marked(way.track, (box[0], box[1], box[2], box[3]), self.best(row)))
        return found

    def best(self, row: int) -> tuple[tuple[str, float], ...]:
        """The labels that fit a box best."""
        if row not in self._best:
            values = self.found.probabilities[row]
            order = np.argsort(-values, kind="stable")[:_BEST]
            self._best[row] = tuple((self.found.labels[k], float(values[k])) for k in order)
        return self._best[row]


class Overlay:
    """Draws frames and encodes them; use `overlay_at`."""

    def __init__(self, path: Path, marks: Marks, *, rate: Fraction | None) -> None:
        self.codec = encoder()
        self.marks = marks
        width, height = marks.found.size
        self.scale = _scale(min(width, height))
        # encoders want even sides
        self.size = tuple(max(2, round(side * self.scale / 2) * 2) for side in (width, height))
        self.rate = min(Fraction(rate or 25), Fraction(MOST_RATE)).limit_denominator(1001)
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream(self.codec, rate=self.rate)
        assert isinstance(stream, av.VideoStream), "encoders are of videos"
        self._stream: av.VideoStream = stream
        self._stream.width, self._stream.height = self.size
        self._stream.pix_fmt = "yuv420p"
        if self.codec == "libx264":
            self._stream.options = {"crf": "23", "preset": "veryfast"}
        self._written = 0
        self._start: float | None = None

    def wants(self, time_s: float) -> bool:
        """Whether a frame at this time is drawn; its pixels are not needed otherwise."""
        return self._due(time_s) > 0

    def _due(self, time_s: float) -> int:
        """How many frames of the overlay it stands for."""
        start = time_s if self._start is None else self._start
        return int((time_s - start) * float(self.rate) + 0.5) + 1 - self._written

    def add(self, time_s: float, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
        """Draw the next frame, as often as its time lasts at the overlay's even rate."""
        if self._start is None:
            self._start = time_s
        due = self._due(time_s)
        if due < 1:
            return
        frame = av.VideoFrame.from_ndarray(self._drawn(time_s, pixels), format="rgb24")
        for _ in range(due):
            frame.pts = self._written
            frame.time_base = 1 / self.rate
            self._container.mux(self._stream.encode(frame))
            self._written += 1

    def _drawn(
        self, time_s: float, pixels: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        if pixels.shape[1::-1] != self.size:
            pixels = cv2.resize(pixels, self.size, interpolation=how)
        picture = Image.fromarray(pixels)
        persons = self.marks.at(time_s, scale=self.scale)
        mark_persons(picture, persons)
        if not persons:
            size = max(9, min(picture.size) // 28)
            pen = ImageDraw.Draw(picture)
            at = (size // 2, picture.height - size // 2)
            pen.text(
                at, "no person", "#ffffff", font(size), anchor="ls", stroke_width=2,
                stroke_fill="#14171b",
            )  # fmt: skip
        return np.asarray(picture)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def encoder() -> str:
    """The first of `ENCODERS` that this PyAV has; of MPEG-4 a line in the log.

    Raises:
        ConfigError: it has none.
    """
    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except (FFmpegError, ValueError):
            continue
        if name == ENCODERS[-1]:
            logger.info("no H.264 encoder in this PyAV: overlays are MPEG-4 (not for browsers)")
        return name
    raise ConfigError(
        f"this PyAV has none of the encoders {list(ENCODERS)}; install PyAV's own wheel (av), or "
        "do without overlays: --no-overlay."
    )


@contextmanager
def overlay_at(path: Path, marks: Marks, *, rate: Fraction | None) -> Iterator[Overlay]:
    """Yield what takes the frames of a video; written whole or not at all.

    Args:
        path: of the overlay, .mp4.
        marks: who is drawn.
        rate: frames a second of the video; None: unknown. More than `MOST_RATE` are left out.

    Raises:
        ConfigError: no encoder. DataError: the encoder refuses the pictures.
    """
    with whole_file(path) as temporary:
        try:
            overlay = Overlay(temporary, marks, rate=rate)
            yield overlay
            overlay.finish()
        except FFmpegError as error:
            raise DataError(
                f"{path}: cannot be encoded ({error}). Try --no-overlay; the tables do without."
            ) from None


def _scale(short: int) -> float:
    """Pixels of an overlay for one of the video, whose shorter side has `short`.

    >>> [_scale(short) for short in (96, 240, 480, 1080, 2160)]
    [3.75, 1.5, 1.0, 1.0, 0.5]
    """
    return max(1.0, SMALL / short) * min(1.0, LARGE / short)
