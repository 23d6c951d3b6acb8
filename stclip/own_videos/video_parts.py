"""Cuts a video into parts: some key frames each, with the frames around them that a method sees.

A part is what the road calls a clip: frames numbered from 0, some of them key frames. Only frames
that can be looked at are decoded to pixels, and only a few parts are in memory at a time, however
long the video is: a thread makes the next one while the present one is scored.

H, W: height and width of a stored picture, which may be smaller than the video's.
"""

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from stclip.inputs.batch import Inputs
from stclip.own_videos.opened import Recording, Shown, video_name
from stclip.prepare.moments import nearest_of, scaled

_GUESSED_RATE = Fraction(25)  # frames/s, where a video does not say
T = TypeVar("T")


@dataclass(frozen=True)
class KeyFrame:
    """A frame in which persons are boxed and labels scored."""

    step: int  # which moment it stands for, counted from 0 in steps of `every_s`
    frame: int  # of the video, from 0
    time_s: float
    place: int  # in the part's frames


@dataclass(frozen=True)
class Part:
    """Some seconds of a video as a clip."""

    video: str  # its name
    number: int
    key_frames: tuple[KeyFrame, ...]
    pixels: Mapping[int, UInt8[np.ndarray, "H W 3"]]  # by place; only those that may be looked at
    num_frames: int
    size: tuple[int, int]  # height and width of the video, upright


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How a video is cut."""

    every_s: float  # seconds between key frames
    rate: float | None  # frames a second that windows and clips are made of; None: all
    short_side: int  # pixels of the shorter side, at most
    key_frames: int  # of a part
    whole: bool  # whether all of a part's frames are looked at, or those around key frames
    margin: int  # frames before and behind a key frame that are looked at

    @classmethod
    def for_inputs(
        cls,
        inputs: Inputs,
        *,
        every_s: float,
        rate: float | None,
        short_side: int,
        part_key_frames: int,
        clip_s: float,
    ) -> "Cutting":
        """How it is cut for a method that looks at `inputs`."""
        whole = inputs.unit != "person"
        return cls(
            every_s=every_s,
            rate=rate,
            short_side=short_side,
            key_frames=max(1, round(clip_s / every_s)) if whole else part_key_frames,
            whole=whole,
            # a window is shifted to stay inside the video
            margin=0 if whole else max(inputs.before + inputs.after, *inputs.memory),
        )


def parts_of(video: Recording, cutting: Cutting, *, first: int = 0) -> Iterator[Part]:
    """The parts of a video in order, from the number `first` on.

    Raises:
        DataError: as `Recording.frames`.
    """
    return _Cutter(video, cutting, first).parts()


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the present one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


@dataclass(frozen=True)
class _Frame:
    index: int  # among the frames that windows and clips are made of
    shown: Shown


class _Cutter:
    """Reads frames as key frames ask for them; keeps those that are looked at."""

    def __init__(self, video: Recording, cutting: Cutting, first: int) -> None:
        self.video, self.cutting, self.first = video, cutting, first
        self._recent: deque[_Frame] = deque(maxlen=cutting.margin + 2)
        self._stored: dict[int, np.ndarray] = {}  # by index
        self._keys: dict[int, _Frame] = {}  # by step; of parts that are not given yet
        self._newest = -1  # index of the last frame read
        self._wanted_to = -1  # index up to which frames are looked at
        self._number = 0  # of the part of the last key frame
        self._size, self._stored_size = (0, 0), (0, 0)
        # a moment behind the last frame is still that frame's while it is shown
        self._near_s = 1 / (2 * Fraction(video.rate or _GUESSED_RATE))

    def parts(self) -> Iterator[Part]:
        every = Fraction(self.cutting.every_s).limit_denominator(100_000)
        frames = self._frames()
        first = next(frames, None)
        if first is None:
            return
        times = (first[0] + step * every for step in count())
        last = -1
        for step, (_, frame) in nearest_of(chain([first], frames), times, near_s=self._near_s):
            if frame.index > last:  # else there are fewer frames than moments
                last = frame.index
                self._add_key(step, frame)
                yield from self._whole_parts()
        yield from self._whole_parts(ends=True)

    def _frames(self) -> Iterator[tuple[Fraction, _Frame]]:
        """The frames that windows and clips are made of, those kept that are known to be needed."""
        pictures: Iterator[tuple[Fraction, Shown]] = ((f.time, f) for f in self.video.frames())
        if self.cutting.rate is not None:
            rate = Fraction(self.cutting.rate).limit_denominator(100_000)
            pictures = _resampled(pictures, rate, near_s=self._near_s)
        for time, shown in pictures:
            self._newest += 1
            frame = _Frame(self._newest, shown)
            self._recent.append(frame)
            if frame.index <= self._wanted_to or (self.cutting.whole and self._wanted_to < 0):
                self._store(frame)
            yield time, frame

    def _add_key(self, step: int, frame: _Frame) -> None:
        margin, whole = self.cutting.margin, self.cutting.whole
        self._keys[step] = frame
        self._number = step // self.cutting.key_frames
        self._wanted_to = sys.maxsize if whole else frame.index + margin
        for near in self._recent:
            if frame.index - margin <= near.index <= self._wanted_to:
                self._store(near)

    def _store(self, frame: _Frame) -> None:
        if frame.index in self._stored or self._number < self.first:
            return
        pixels = frame.shown.picture.pixels()
        if not self._stored_size[0]:
            self._size = (pixels.shape[0], pixels.shape[1])
        pixels = scaled(pixels, self.cutting.short_side)
        if not self._stored_size[0]:
            self._stored_size = (pixels.shape[0], pixels.shape[1])
        height, width = self._stored_size
        if pixels.shape[:2] != (height, width):  # a stream may change its size
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        self._stored[frame.index] = pixels

    def _whole_parts(self, *, ends: bool = False) -> Iterator[Part]:
        """The parts of which all is read; `ends`: nothing follows."""
        margin, whole = self.cutting.margin, self.cutting.whole
        numbers = sorted({step // self.cutting.key_frames for step in self._keys})
        for number in numbers if ends else numbers[:-1]:
            own = {s: f for s, f in self._keys.items() if s // self.cutting.key_frames == number}
            later = [f.index for s, f in self._keys.items() if s not in own]
            indices = [frame.index for frame in own.values()]
            begin = max(0, indices[0] - margin)
            end = indices[-1] + margin + 1
            if whole:
                end = later[0] if later else self._newest + 1
            if not ends and self._newest < end - 1:
                return  # what a window needs is still to come
            if ends:
                end = min(end, self._newest + 1)
            if number >= self.first:
                yield self._part(number, own, begin, end)
            for step in own:
                del self._keys[step]
            needed_from = later[0] - margin if later else end
            self._stored = {i: p for i, p in self._stored.items() if i >= needed_from}

    def _part(self, number: int, own: dict[int, _Frame], begin: int, end: int) -> Part:
        key_frames = tuple(
            KeyFrame(step, f.shown.number, float(f.shown.time), f.index - begin)
            for step, f in own.items()
        )
        pixels = {i - begin: p for i, p in self._stored.items() if begin <= i < end}
        return Part(
            video_name(self.video.path), number, key_frames, pixels, end - begin, self._size
        )


def _resampled(
    pictures: Iterator[tuple[Fraction, Shown]], rate: Fraction, *, near_s: Fraction
) -> Iterator[tuple[Fraction, Shown]]:
    """The picture nearest to each moment of an even rate, each picture once."""
    first = next(pictures, None)
    if first is None:
        return
    times = (first[0] + number / rate for number in count())
    last = -1
    for _, (time, shown) in nearest_of(chain([first], pictures), times, near_s=near_s):
        if shown.number > last:
            last = shown.number
            yield time, shown
