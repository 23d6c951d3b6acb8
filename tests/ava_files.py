"""AVA's films and annotations as published, small enough to draw in a test.

Every picture of a film shows its number in blocks of black and white. Key frames are those of
seconds 20 to 23.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from stclip.prepare.ava import prepare
from stclip.storage.frame_store import read_pixels, stored_clip

BITS, BLOCK = 12, 16  # of a number, pixels of one
HEIGHT, WIDTH = 48, BITS * BLOCK
FIRST, LAST, CONTEXT = 20, 23, 2  # seconds
LABELS = {1: ("walk", "PERSON_MOVEMENT"), 2: ("sit", "PERSON_MOVEMENT"),
          3: ("read", "OBJECT_MANIPULATION"), 4: ("talk to", "PERSON_INTERACTION")}  # fmt: skip
LABEL_MAP = "\n".join(
    f'label {{\n  name: "{name}"\n  label_id: {number}\n  label_type: {kind}\n}}'
    for number, (name, kind) in LABELS.items()
)


def picture(number: int, height: int = HEIGHT) -> np.ndarray:
    pixels = np.full((height, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        pixels[: height // 2, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // BITS
    blocks = pixels[:height, : BITS * width].reshape(height, BITS, width * 3)
    return sum(int(blocks[:, bit].mean() > 127) << bit for bit in range(BITS))


NTSC_FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


@dataclass(frozen=True)
class Film:
    """How a film is made; `shown`: the places of its pictures on the grid of its rate."""

    name: str
    codec: str
    rate: Fraction
    shown: tuple[int, ...]
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("bf", "2"), ("g", "100"))
    height: int = HEIGHT
    sound_from_0: bool = False

    def times(self) -> list[Fraction]:
        """Of its pictures, from the container's start."""
        start = 0 if self.sound_from_0 else self.shown[0]
        return [(place - start) / self.rate for place in self.shown]

    def nearest(self, second: Fraction | int) -> int:
        """The picture that a key frame is, by looking at all of them."""
        return int(np.argmin([abs(time - second) for time in self.times()]))  # the earlier of two


def places(rate: Fraction | int, seconds: int, *, offset: int = 0) -> tuple[int, ...]:
    return tuple(range(offset, offset + int(rate * seconds)))


MP4 = Film("mp4", "libx264", NTSC_FILM, places(NTSC_FILM, 27))
OFFSET = Film("mkv", "libx264", NTSC, places(NTSC, 27, offset=11))
VARIABLE = Film(
    "mp4", "libx264", NTSC, tuple(n for n in places(NTSC, 27) if not (100 < n < 640 and n % 4 == 1))
)
HALF_RATE = Film("mkv", "libx264", Fraction(12000, 1001), places(Fraction(12000, 1001), 27))
WEBM = Film(
    "webm", "libvpx", Fraction(25), places(25, 27),
    (("crf", "20"), ("b", "1M"), ("deadline", "realtime"), ("cpu-used", "8"), ("g", "100"),
     ("auto-alt-ref", "1"), ("lag-in-frames", "8")),
)  # fmt: skip
SOUND = Film("mkv", "libx264", Fraction(25), places(25, 27, offset=10), sound_from_0=True)


@cache
def _drawn(film: Film) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"film.{film.name}")
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(
                film.codec, rate=film.rate, options=dict(film.options)
            )
            stream.width, stream.height, stream.pix_fmt = WIDTH, film.height, "yuv420p"
            stream.codec_context.time_base = 1 / film.rate
            if film.sound_from_0:
                add_sound(container)
            for number, place in enumerate(film.shown):
                frame = av.VideoFrame.from_ndarray(picture(number, film.height), format="rgb24")
                frame.pts, frame.time_base = place, 1 / film.rate
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def add_sound(container: Any) -> None:
    """A second of silence."""
    stream = container.add_stream("libopus", rate=48000)
    samples = np.zeros((1, 48000), np.int16)
    silence = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    silence.rate, silence.pts = 48000, 0
    container.mux([*stream.encode(silence), *stream.encode()])


def draw(film: Film, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{film.name}"
    path.write_bytes(_drawn(film))
    return path


Row = tuple[str, int, tuple[float, float, float, float], int, int]  # ..., action, person
LEFT, RIGHT = (0.1, 0.25, 0.5, 1.0), (0.5, 0.0, 0.75, 0.5)


def line(row: Row, *, persons: bool = True) -> str:
    video, second, box, action, person = row
    corners = ",".join(f"{corner:.3f}" for corner in box)
    return f"{video},{second:04d},{corners},{action}" + (f",{person}" if persons else "")


A, B, C = "aaaaaaaaaaa", "-bbbbbbbbb_", "ccccccccccc"
TRAIN: list[Row] = [
    (A, 20, LEFT, 4, 1), (A, 20, LEFT, 1, 1), (A, 20, RIGHT, 2, 0), (A, 23, LEFT, 1, 1),
    (B, 21, LEFT, 1, 5),
]  # fmt: skip
VAL: list[Row] = [(C, 21, LEFT, 2, 0), (C, 22, LEFT, 2, 0), (C, 22, LEFT, 3, 0)]


@dataclass
class Raw:
    """What a test spoils before it is written."""

    train: list[Row] = field(default_factory=lambda: [*TRAIN])
    val: list[Row] = field(default_factory=lambda: [*VAL])
    films: dict[str, Film] = field(default_factory=lambda: {A: MP4, B: HALF_RATE, C: OFFSET})
    excluded: str = f"{C},0022\n"

    def files(self) -> dict[str, str]:
        return {
            "ava_train.csv": "".join(line(row) + "\n" for row in self.train),
            "ava_val.csv": "".join(line(row) + "\n" for row in self.val),
            "labels.pbtxt": LABEL_MAP,
            "included.txt": "".join(f"{second:04d}\n" for second in range(FIRST, LAST + 1)),
            "excluded.csv": self.excluded,
        }

    def sha256(self) -> dict[str, str]:
        return {n: hashlib.sha256(text.encode()).hexdigest() for n, text in self.files().items()}

    def annotated(self, folder: Path) -> Path:
        """Write the archive of annotations alone."""
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "ava.zip", "w") as archive:
            for name, text in self.files().items():
                archive.writestr(f"ava/{name}", text)
        return folder

    def write(self, folder: Path) -> Path:
        for name, film in self.films.items():
            draw(film, folder, name)
        return self.annotated(folder)

    def unpacked(self, folder: Path, films: str = "videos") -> Path:
        (folder / "annotations").mkdir(parents=True)
        for name, text in self.files().items():
            (folder / "annotations" / name).write_text(text)
        for name, film in self.films.items():
            draw(film, folder / films, name)
        return folder


def named() -> dict[str, Any]:
    """The params that name the files of annotations."""
    return {
        "annotations": {"train": "ava.zip/ava_train.csv", "val": "ava.zip/ava_val.csv"},
        "label_map": "ava.zip/labels.pbtxt", "included": "ava.zip/included.txt",
        "excluded": ["ava.zip/excluded.csv"], "licence": "free",
    }  # fmt: skip


def run(raw: Path, out: Path, **params: Any) -> Path:
    prepare(raw, out, **{**named(), "context_s": CONTEXT, **params})
    return out


def numbers_in(frames: Path, clip: str, which: Iterable[int] | None = None) -> list[int]:
    """What the stored pictures show."""
    numbers = sorted(stored_clip(frames, clip).numbers) if which is None else which
    return [number_of(read_pixels(frames, clip, number)) for number in numbers]
