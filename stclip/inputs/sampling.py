"""Which frames of a clip a method sees: the rules of the field, by name.

A rule takes the length n of a clip and gives T frame numbers, 0-based.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Draw:
    """The chance, and the turn, of one drawing of frames."""

    training: bool
    rng: np.random.Generator
    view: int = 0  # which of `views` drawings of the same clip
    views: int = 1


def spread(n: int, num: int, draw: Draw) -> list[int]:
    """Equal segments over the whole clip: their middles, in training a random frame of each.

    A clip shorter than `num` gives all of its frames.

    >>> scoring = Draw(training=False, rng=np.random.default_rng(0))
    >>> spread(10, 2, scoring), spread(2, 4, scoring)
    ([2, 7], [0, 1, 1, 1])
    """
    if n < num:
        return [*range(n), *[n - 1] * (num - n)]
    if draw.training:
        return _in_each_segment(n, num, draw.rng)
    return [(2 * i + 1) * n // (2 * num) for i in range(num)]


def actionclip(n: int, num: int, draw: Draw) -> list[int]:
    """ActionCLIP with random shift in training; a short clip gives random frames twice there."""
    if not draw.training:
        return actionclip_fixed(n, num, draw)
    if n <= num:
        return sorted([*range(n), *draw.rng.integers(n, size=num - n).tolist()])
    return _in_each_segment(n, num, draw.rng)


def actionclip_fixed(n: int, num: int, draw: Draw) -> list[int]:
    """ActionCLIP without random shift, as its code trains on HMDB51 and UCF101 too."""
    if n <= num:
        return [i * n // num for i in range(num)]
    return [int(i * n / num + (n / num - 1) / 2) for i in range(num)]


def xclip(n: int, num: int, draw: Draw) -> list[int]:
    """X-CLIP as released: in training segments of n // num frames, so the clip's tail is unseen.

    Of a clip shorter than `num` the last number may wrap around to frame 0.
    """
    if not draw.training:
        return [(2 * i + 1) * n // (2 * num) for i in range(num)]
    if n < num:
        return [round(i * n / num) % n for i in range(num)]
    length = n // num
    return [i * length + int(draw.rng.integers(length)) for i in range(num)]


def xclip_whole(n: int, num: int, draw: Draw) -> list[int]:
    """X-CLIP with segments that reach to the clip's end."""
    if draw.training and n >= num:
        return _in_each_segment(n, num, draw.rng)
    return xclip(n, num, draw)


def a5(n: int, num: int, draw: Draw) -> list[int]:
    """A5 as released, in training and in scoring: a random rate, offset and start.

    One of the rates 1, 1/2, 1/3 (three times as likely), 1/4; so many evenly spaced candidates
    from a random offset to the end, or all frames where these are at most `num`; of them `num` in
    a row.
    """
    if n <= num:
        return [*range(n), *[n - 1] * (num - n)]
    every = (1, 2, 3, 3, 3, 4)[int(draw.rng.integers(6))]
    offset = int(draw.rng.integers(every))
    candidates = np.linspace(offset, n - 1, round(n / every)).astype(int)
    if len(candidates) <= num:
        candidates = np.arange(n)
    start = int(draw.rng.integers(len(candidates) - num))
    return candidates[start : start + num].tolist()


def vitaclip_dense(n: int, num: int, draw: Draw, *, stride: int = 16) -> list[int]:
    """Vita-CLIP as released: every 16th frame from a random start; when scoring, spread starts.

    A clip too short for that repeats its last reached frame (in training) or its last (scoring).
    """
    length = stride * (num - 1) + 1
    if draw.training:
        if n <= length:
            return [min(i, (n - 1) // stride) * stride for i in range(num)]
        start = int(draw.rng.integers(n - length + 1))
    else:
        room = max(n, length) - length
        start = room // 2 if draw.views == 1 else draw.view * room // (draw.views - 1)
    return [min(start + i * stride, n - 1) for i in range(num)]


def vitaclip_tsn(n: int, num: int, draw: Draw) -> list[int]:
    """Vita-CLIP's other rule: segments of (n - 1) / num, both ends included.

    When scoring the released rule fails; there `spread` stands in.
    """
    if not draw.training:
        return spread(n, num, draw)
    ends = [round((n - 1) / num * i) for i in range(num + 1)]
    return [int(draw.rng.integers(ends[i], ends[i + 1], endpoint=True)) for i in range(num)]


def viclip(n: int, num: int, draw: Draw) -> list[int]:
    """ViCLIP's pretraining: middles of segments; in training a frame of each, never its last.

    Where a segment has but one frame, training takes any `num` frames of the clip. A clip shorter
    than `num` repeats its last frame.
    """
    if n < num:
        return [*range(n), *[n - 1] * (num - n)]
    ends = [i * n // num for i in range(num + 1)]
    if not draw.training:
        return [(first + end - 1) // 2 for first, end in pairwise(ends)]
    if any(end - first < 2 for first, end in pairwise(ends)):
        return sorted(draw.rng.choice(n, num, replace=False).tolist())
    return [int(draw.rng.integers(first, end - 1)) for first, end in pairwise(ends)]


def viclip_demo(n: int, num: int, draw: Draw) -> list[int]:
    """ViCLIP as released for use: every (n // num)-th frame from the first.

    There a clip shorter than `num` fails; here it repeats its last frame.
    """
    if n < num:
        return viclip(n, num, draw)
    return [i * (n // num) for i in range(num)]


def _in_each_segment(n: int, num: int, rng: np.random.Generator) -> list[int]:
    ends = [i * n // num for i in range(num + 1)]
    return [int(rng.integers(ends[i], ends[i + 1])) for i in range(num)]


SAMPLERS: dict[str, Callable[[int, int, Draw], list[int]]] = {
    "spread": spread,
    "actionclip": actionclip,
    "actionclip_fixed": actionclip_fixed,
    "xclip": xclip,
    "xclip_whole": xclip_whole,
    "a5": a5,
    "vitaclip_dense": vitaclip_dense,
    "vitaclip_tsn": vitaclip_tsn,
    "viclip": viclip,
    "viclip_demo": viclip_demo,
}
VIEWS_DIFFER = ("a5", "vitaclip_dense")  # rules whose drawings of a clip, when scoring, differ
