"""Writes films as UCF101's codec does: MPEG-4 in AVI, with what makes such files hard to read.

Three manners. `PLAIN` has a key frame every twelve pictures. `ONE_KEY` has one at the start alone,
so that no reader can begin in the middle. `PACKED` is DivX's way to put B-frames into AVI, which
has no order of its own: a chunk holds a P-frame and the B-frame shown before it, the next chunk
says "not coded". Decoded in order all three give back every frame; the presentation times of the
last one are wrong, and its chunks are not its frames.

Legend: T frames, H height, W width. Pictures are RGB.
"""

import io
from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from jaxtyping import UInt8

FPS = 25
CODEC = "mpeg4"
QUANTISER = 5  # of 1 (fine) to 31
KEY_FRAME_EVERY = 12
NEVER = 10_000  # frames between key frames: more than a film has
BITEXACT = {"flags": "+bitexact", "threads": "1"}  # no version of the library in the stream
PICTURE_START = b"\x00\x00\x01\xb6"
# What says to a decoder that B-frames are packed: the last letter.
DIVX_PACKED = b"\x00\x00\x01\xb2DivX503b1393p"


class Manner(Enum):
    """How a film is encoded."""

    PLAIN = "plain"
    ONE_KEY = "one_key"
    PACKED = "packed"


class Chunk(NamedTuple):
    """What AVI stores of one moment."""

    content: bytes
    is_key: bool


def as_avi(frames: UInt8[np.ndarray, "T H W 3"], *, manner: Manner) -> bytes:
    """The file of a film; same frames, same bytes under one version of FFmpeg."""
    _, height, width, _ = frames.shape
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(CODEC, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.codec_tag = "XVID"
        for number, chunk in enumerate(_chunks(frames, manner)):
            packet = av.Packet(chunk.content)
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = number
            packet.is_keyframe = chunk.is_key
            container.mux(packet)
    return buffer.getvalue()


def _chunks(frames: UInt8[np.ndarray, "T H W 3"], manner: Manner) -> Iterator[Chunk]:
    packets = list(_encoded(frames, manner))
    if manner is not Manner.PACKED:
        yield from (Chunk(bytes(packet), packet.is_keyframe) for packet in packets)
        return
    first, *others = packets
    yield Chunk(_said_packed(bytes(first)), first.is_keyframe)
    while others:
        packet, *others = others
        if others and _shown(others[0]) < _shown(packet):  # a B-frame
            between, *others = others
            yield Chunk(bytes(packet) + bytes(between), packet.is_keyframe)
            yield Chunk(_not_coded(_shown(packet)), is_key=False)
        else:
            yield Chunk(bytes(packet), packet.is_keyframe)


def _shown(packet: "av.Packet[Any]") -> int:
    """The frame number of a packet."""
    assert packet.pts is not None, "the encoder was told the time of every frame"
    return packet.pts


def _encoded(frames: UInt8[np.ndarray, "T H W 3"], manner: Manner) -> Iterator["av.Packet[Any]"]:
    """Packets in the order of decoding."""
    _, height, width, _ = frames.shape
    encoder = av.CodecContext.create(CODEC, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.qmin = encoder.qmax = QUANTISER
    encoder.gop_size = KEY_FRAME_EVERY if manner is Manner.PLAIN else NEVER
    between = "1" if manner is Manner.PACKED else "0"
    encoder.options = {**BITEXACT, "bf": between, "b_strategy": "0", "sc_threshold": "1000000000"}
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = number, Fraction(1, FPS)
        yield from encoder.encode(picture)
    yield from encoder.encode(None)


def _said_packed(key_frame: bytes) -> bytes:
    """The first chunk, told to be of a packed stream before its picture begins."""
    start = key_frame.index(PICTURE_START)
    return key_frame[:start] + DIVX_PACKED + key_frame[start:]


def _not_coded(number: int) -> bytes:
    """A P-picture without content (ISO/IEC 14496-2, vop_coded = 0), at frame `number` of a second.

    Bits: type 01, no whole second 0, marker 1, time in five bits (of 25), marker 1, coded 0, and
    the stuffing 0 1111 up to the byte's end.
    """
    bits = "01" + "0" + "1" + f"{number % FPS:05b}" + "1" + "0" + "01111"
    return PICTURE_START + int(bits, 2).to_bytes(2)
