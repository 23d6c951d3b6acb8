"""Writes films in the containers of AVA's: Matroska, MP4, WebM, at whatever rate.

The codecs are those that every build of PyAV has and that decode to the same pixels everywhere:
MPEG-4 part 2 in .mkv and .mp4, VP8 in .webm. A Matroska film may begin later than at time 0, as a
real one may that was cut from a longer stream; its frames count from its own start.

Legend: T frames, H height, W width. Pictures are RGB.
"""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from jaxtyping import UInt8

from stclip.mini.enlarge import enlarged

BITEXACT = {"flags": "+bitexact", "threads": "1"}  # no version of the library in the stream
KEY_FRAME_EVERY = 48


@dataclass(frozen=True)
class Container:
    """A container and what is in it."""

    suffix: str
    form: str  # FFmpeg's name
    codec: str
    options: dict[str, str]  # of the encoder


MPEG4 = {"qmin": "5", "qmax": "5", "sc_threshold": "1000000000"}
VP8 = {"deadline": "realtime", "cpu-used": "-8", "crf": "12", "b": "600k", "lag-in-frames": "0"}
CONTAINERS = {
    container.suffix: container
    for container in (
        Container(".mkv", "matroska", "mpeg4", {**MPEG4, "bf": "0"}),
        Container(".mp4", "mp4", "mpeg4", {**MPEG4, "bf": "1", "b_strategy": "0"}),  # and B-frames
        Container(".webm", "webm", "libvpx", VP8),
    )
}


def film_file(
    frames: UInt8[np.ndarray, "T H W 3"],
    container: Container,
    *,
    rate: Fraction,
    starts_at: Fraction = Fraction(0),
    height: int | None = None,
) -> bytes:
    """The file of a film; same frames, same bytes under one version of FFmpeg.

    Args:
        frames: all of the film.
        container: of `CONTAINERS`.
        rate: frames a second.
        starts_at: time of the first frame, seconds; other than 0 only in Matroska.
        height: rows of the film; None: those of the frames, which are enlarged one by one.
    """
    rows = height or frames.shape[1]
    buffer = io.BytesIO()
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    with av.open(buffer, "w", format=container.form, options=options) as file:
        settings = BITEXACT | container.options
        stream = file.add_stream(container.codec, rate=rate, options=settings)
        assert isinstance(stream, av.VideoStream)
        width = round(frames.shape[2] * rows / frames.shape[1])
        stream.width, stream.height, stream.pix_fmt = width, rows, "yuv420p"
        stream.codec_context.gop_size = KEY_FRAME_EVERY
        offset = round(starts_at * rate)
        for number, frame in enumerate(frames):
            (large,) = enlarged(frame[None], height=rows)
            picture = av.VideoFrame.from_ndarray(large, format="rgb24")
            picture.pts, picture.time_base = number + offset, 1 / rate
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return buffer.getvalue()
