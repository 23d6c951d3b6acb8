"""Whether pictures and films of the data sets' kinds are read: a few are drawn, encoded, decoded.

By the code that reads the archives: PyAV for films, OpenCV for pictures.

T: frames of a film; H, W: height and width. Pictures are RGB.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from stclip.doctor.finding import Finding, of_machine
from stclip.errors import DataError
from stclip.mini.ava.containers import CONTAINERS, Container, film_file
from stclip.mini.avi import Manner, as_avi
from stclip.prepare.videos import VideoFile, upright

NUM_FRAMES, HEIGHT, WIDTH = 5, 48, 64
RATE = Fraction(25)
CLOSE = 12.0  # of 255, on average: the codecs lose a little, another picture differs by 60 and more
H264 = Container(".mp4", "mp4", "libx264", {"crf": "18", "preset": "ultrafast"})
VP9 = Container(
    ".webm", "webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "20"}
)
INSTALL = (
    "install PyAV and OpenCV as requirements.lock has them: their own FFmpeg reads all of these"
)


@dataclass(frozen=True)
class Codec:
    """A kind of film."""

    name: str
    decoder: str  # FFmpeg's name
    encode: Callable[[UInt8[np.ndarray, "T H W 3"]], bytes]


FILMS = (
    Codec("MPEG-4 in AVI", "mpeg4", partial(as_avi, manner=Manner.PLAIN)),
    Codec("packed MPEG-4 in AVI", "mpeg4", partial(as_avi, manner=Manner.PACKED)),
    Codec(
        "MPEG-4 in Matroska", "mpeg4", partial(film_file, container=CONTAINERS[".mkv"], rate=RATE)
    ),
    Codec("H.264 in MP4", "h264", partial(film_file, container=H264, rate=RATE)),
    Codec("VP8 in WebM", "vp8", partial(film_file, container=CONTAINERS[".webm"], rate=RATE)),
    Codec("VP9 in WebM", "vp9", partial(film_file, container=VP9, rate=RATE)),
)
PICTURES = {"JPEG": ".jpg", "PNG": ".png"}


def check_codecs() -> Iterator[Finding]:
    """One line if all is well, else one for each kind that is not."""
    frames = _drawn()
    wrong = {name: _picture_wrong(frames[0], suffix) for name, suffix in PICTURES.items()}
    untried = []
    for codec in FILMS:
        try:
            content = codec.encode(frames)
        except (av.error.FFmpegError, ValueError):  # a build may read what it cannot write
            untried.append(codec)
            continue
        wrong[codec.name] = _film_wrong(content, codec.name, frames)
    for codec in untried:
        if codec.decoder not in av.codec.codecs_available:
            wrong[codec.name] = "there is no decoder"
            continue
        to_do = "read one such film (`stclip predict`) before the run, or " + INSTALL
        found = f"{codec.name}: there is a decoder, not tried without an encoder"
        yield of_machine("codecs", "note", found, to_do)
    failed = {name: why for name, why in wrong.items() if why}
    for name, why in failed.items():
        yield of_machine("codecs", "problem", f"{name}: {why}", INSTALL)
    good = [name for name in wrong if name not in failed]
    if good:
        yield of_machine("codecs", "ok", f"drawn, encoded and decoded: {', '.join(good)}")


def _drawn() -> UInt8[np.ndarray, "T H W 3"]:
    """A square that crosses a smooth picture."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    frame = np.stack([rows * 4, columns * 3, 200 - rows - columns], axis=-1).astype(np.uint8)
    film = np.repeat(frame[None], NUM_FRAMES, axis=0)
    for number, picture in enumerate(film):
        picture[16:32, 8 * number : 8 * number + 16] = (230, 40, 40)
    return film


def _picture_wrong(picture: UInt8[np.ndarray, "H W 3"], suffix: str) -> str:
    """What is wrong; "" if nothing is."""
    try:
        _, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        decoded = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        return f"OpenCV says {error.err or error}"
    return "does not decode" if decoded is None else _differs(decoded[None], picture[None])


def _film_wrong(content: bytes, name: str, frames: UInt8[np.ndarray, "T H W 3"]) -> str:
    try:
        with VideoFile(name, content, name).decoded() as (_, pictures):
            decoded = [upright(picture) for picture in pictures]
    except (av.error.FFmpegError, DataError) as error:
        return f"does not decode ({error})"
    if len(decoded) != len(frames):
        return f"{len(decoded)} of {len(frames)} frames decode"
    return _differs(np.stack(decoded), frames)


def _differs(found: UInt8[np.ndarray, "T H W 3"], drawn: UInt8[np.ndarray, "T H W 3"]) -> str:
    if found.shape != drawn.shape:
        return f"decodes to the shape {found.shape}, drawn was {drawn.shape}"
    off = float(np.abs(found.astype(int) - drawn).mean())
    return f"decodes to other pixels, {off:.0f} of 255 off on average" if off > CLOSE else ""
