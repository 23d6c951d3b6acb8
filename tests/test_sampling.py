"""Which frames of a clip are looked at, against the published formulas, for clips of 1 to 40."""

import math
from itertools import pairwise

import numpy as np
import pytest

from stclip.errors import ConfigError
from stclip.inputs.batch import Inputs
from stclip.inputs.sampling import SAMPLERS, Draw

LENGTHS = range(1, 41)
TRAINING_DRAWS = 30


def scoring(view: int = 0, views: int = 1) -> Draw:
    return Draw(training=False, rng=np.random.default_rng(view), view=view, views=views)


def training(seed: int) -> Draw:
    return Draw(training=True, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("num", [1, 8, 16])
@pytest.mark.parametrize("n", LENGTHS)
def test_every_rule_gives_frames_of_the_clip_in_order(name: str, num: int, n: int) -> None:
    for draw in (scoring(), scoring(2, 3), *map(training, range(5))):
        frames = SAMPLERS[name](n, num, draw)
        assert len(frames) == num
        assert frames == sorted(frames) or (name.startswith("xclip") and n < num)  # it wraps around
        assert all(isinstance(f, int) and 0 <= f < n for f in frames)


@pytest.mark.parametrize("n", LENGTHS)
def test_spread_takes_middles_and_random_frames_of_equal_segments(n: int) -> None:
    middles = SAMPLERS["spread"](n, 8, scoring())
    drawn = [SAMPLERS["spread"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    if n < 8:
        padded = [*range(n), *[n - 1] * (8 - n)]
        assert middles == padded
        assert all(frames == padded for frames in drawn)
        return
    assert middles == [math.floor((i + 0.5) * n / 8) for i in range(8)]
    _every_frame_of_each_segment(drawn, [math.floor(i * n / 8) for i in range(9)])


def _every_frame_of_each_segment(drawn: list[list[int]], ends: list[int]) -> None:
    """Frames come from [end_i, end_(i+1) - 1], and where a segment has two both are drawn."""
    for i, (first, end) in enumerate(pairwise(ends)):
        found = {frames[i] for frames in drawn}
        assert found <= set(range(first, end))
        assert len(found) > 1 or end - first == 1


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (40, [2, 7, 12, 17, 22, 27, 32, 37]),
        (36, [1, 6, 10, 15, 19, 24, 28, 33]),
        (15, [0, 2, 4, 6, 7, 9, 11, 13]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, [0, 0, 0, 1, 1, 1, 2, 2]),
        (1, [0] * 8),
    ],
)
def test_actionclip_scores_the_published_frames(n: int, expected: list[int]) -> None:
    assert SAMPLERS["actionclip"](n, 8, scoring()) == expected
    assert SAMPLERS["actionclip_fixed"](n, 8, training(0)) == expected


@pytest.mark.parametrize("n", LENGTHS)
def test_actionclip_shifts_at_random_in_training(n: int) -> None:
    drawn = [SAMPLERS["actionclip"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    if n > 8:
        _every_frame_of_each_segment(drawn, [math.floor(i * n / 8) for i in range(9)])
        return
    assert all(set(frames) == set(range(n)) for frames in drawn)
    assert n in (1, 8) or len(set(map(tuple, drawn))) > 1


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (40, [2, 7, 12, 17, 22, 27, 32, 37]),
        (36, [2, 6, 11, 15, 20, 24, 29, 33]),
        (15, [0, 2, 4, 6, 8, 10, 12, 14]),
        (1, [0] * 8),
    ],
)
def test_xclip_scores_the_published_frames(n: int, expected: list[int]) -> None:
    assert SAMPLERS["xclip"](n, 8, scoring()) == expected
    assert SAMPLERS["xclip_whole"](n, 8, scoring()) == expected


@pytest.mark.parametrize("n", LENGTHS)
def test_xclip_never_trains_on_the_tail_and_its_other_rule_does(n: int) -> None:
    drawn = [SAMPLERS["xclip"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    whole = [SAMPLERS["xclip_whole"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    if n < 8:
        expected = [round(i * n / 8) % n for i in range(8)]
        assert all(sorted(frames) == sorted(expected) for frames in (*drawn, *whole))
        return
    _every_frame_of_each_segment(drawn, [i * (n // 8) for i in range(9)])
    _every_frame_of_each_segment(whole, [math.floor(i * n / 8) for i in range(9)])


@pytest.mark.parametrize("n", LENGTHS)
def test_a5_draws_consecutive_candidates_at_a_random_rate(n: int) -> None:
    """Published: candidates at one of the rates, all frames where those are at most 16."""
    drawn = [SAMPLERS["a5"](n, 16, training(seed)) for seed in range(200)]
    if n <= 16:
        assert all(frames == [*range(n), *[n - 1] * (16 - n)] for frames in drawn)
        return
    allowed = set()
    for every in (1, 2, 3, 4):
        for offset in range(every):
            points = np.linspace(offset, n - 1, round(n / every)).astype(int).tolist()
            points = points if len(points) > 16 else list(range(n))
            allowed |= {tuple(points[s : s + 16]) for s in range(len(points) - 16)}
    assert {tuple(frames) for frames in drawn} <= allowed
    assert n == 17 or len({tuple(frames) for frames in drawn}) > 1


@pytest.mark.parametrize("n", [*LENGTHS, 113, 114, 300])
def test_vitaclip_takes_every_sixteenth_frame(n: int) -> None:
    drawn = [SAMPLERS["vitaclip_dense"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    views = [SAMPLERS["vitaclip_dense"](n, 8, scoring(view, 3)) for view in range(3)]
    if n <= 113:
        reached = (n - 1) // 16 * 16
        assert all(frames == [min(16 * i, reached) for i in range(8)] for frames in drawn)
        assert all(frames == [min(16 * i, n - 1) for i in range(8)] for frames in views)
        return
    starts = {frames[0] for frames in drawn}
    assert starts <= set(range(n - 112))
    assert all(np.diff(frames).tolist() == [16] * 7 for frames in (*drawn, *views))
    assert [frames[0] for frames in views] == [0, (n - 113) // 2, n - 113]


@pytest.mark.parametrize("n", LENGTHS)
def test_vitaclip_segments_include_both_ends(n: int) -> None:
    ends = [round((n - 1) / 8 * i) for i in range(9)]
    drawn = [SAMPLERS["vitaclip_tsn"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    for i, (first, last) in enumerate(pairwise(ends)):
        assert {frames[i] for frames in drawn} <= set(range(first, last + 1))
        assert first == last or len({frames[i] for frames in drawn}) > 1


@pytest.mark.parametrize("n", LENGTHS)
def test_viclip_draws_any_frame_but_the_last_of_each_segment(n: int) -> None:
    middles = SAMPLERS["viclip"](n, 8, scoring())
    drawn = [SAMPLERS["viclip"](n, 8, training(seed)) for seed in range(TRAINING_DRAWS)]
    if n < 8:
        padded = [*range(n), *[n - 1] * (8 - n)]
        assert middles == padded
        assert all(frames == padded for frames in drawn)
        return
    ends = [math.floor(x) for x in np.linspace(0, n, 9)]
    assert middles == [math.floor((s + e - 1) / 2) for s, e in pairwise(ends)]
    if min(e - s for s, e in pairwise(ends)) < 2:  # a random subset of the whole clip
        assert all(sorted(set(frames)) == frames for frames in drawn)
        assert {f for frames in drawn for f in frames} == set(range(n))
        return
    for i, (first, end) in enumerate(pairwise(ends)):
        found = {frames[i] for frames in drawn}
        assert found <= set(range(first, end - 1))
        assert len(found) > 1 or end - first == 2


@pytest.mark.parametrize("n", LENGTHS)
def test_viclips_demo_takes_every_so_many_frames_from_the_first(n: int) -> None:
    frames = SAMPLERS["viclip_demo"](n, 8, scoring())
    assert frames == SAMPLERS["viclip_demo"](n, 8, training(0))
    assert n < 8 or frames == list(range(n))[:: n // 8][:8]


@pytest.mark.parametrize("inputs", [{"num_frames": 0}, {"views": 0}, {"sampling": "all"}])
def test_settings_that_draw_nothing_are_refused(inputs: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(inputs))):
        Inputs(unit="clip", **inputs)  # type: ignore[arg-type]
