"""Which frames of a clip are looked at, against the published formulas, for clips of 1 to 40."""

import math
from itertools import pairwise, product

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


def drawn_by(name: str, n: int, *, num: int = 8, draws: int = TRAINING_DRAWS) -> list[list[int]]:
    """What a rule draws from a clip of n frames in so many trainings."""
    return [SAMPLERS[name](n, num, training(seed)) for seed in range(draws)]


def padded(n: int, num: int) -> list[int]:
    """All n frames, then the last one again."""
    return [*range(n), *[n - 1] * (num - n)]


def check_segments(drawn: list[list[int]], ends: list[int], *, case: str) -> None:
    """Frames come from [end_i, end_(i+1) - 1], and where a segment has two both are drawn."""
    for i, (first, end) in enumerate(pairwise(ends)):
        found = {frames[i] for frames in drawn}
        assert found <= set(range(first, end)), f"{case}, segment {i}"
        assert len(found) > 1 or end - first == 1, f"{case}, segment {i}"


def test_every_rule_gives_frames_of_the_clip_in_order() -> None:
    for name, num, n in product(SAMPLERS, (1, 8, 16), LENGTHS):
        for draw in (scoring(), scoring(2, 3), *map(training, range(5))):
            case = f"{num} of {n} frames by {name}, {draw}"
            frames = SAMPLERS[name](n, num, draw)
            assert len(frames) == num, case
            wraps_around = name.startswith("xclip") and n < num
            assert frames == sorted(frames) or wraps_around, case
            assert all(isinstance(f, int) and 0 <= f < n for f in frames), case


def test_spread_takes_middles_and_random_frames_of_equal_segments() -> None:
    for n in LENGTHS:
        case = f"{n} frames"
        middles, drawn = SAMPLERS["spread"](n, 8, scoring()), drawn_by("spread", n)
        if n < 8:
            assert middles == padded(n, 8), case
            assert all(frames == padded(n, 8) for frames in drawn), case
            continue
        assert middles == [math.floor((i + 0.5) * n / 8) for i in range(8)], case
        check_segments(drawn, [math.floor(i * n / 8) for i in range(9)], case=case)


def test_actionclip_scores_the_published_frames() -> None:
    for n, expected in (
        (40, [2, 7, 12, 17, 22, 27, 32, 37]),
        (36, [1, 6, 10, 15, 19, 24, 28, 33]),
        (15, [0, 2, 4, 6, 7, 9, 11, 13]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, [0, 0, 0, 1, 1, 1, 2, 2]),
        (1, [0] * 8),
    ):
        assert SAMPLERS["actionclip"](n, 8, scoring()) == expected, f"{n} frames"
        assert SAMPLERS["actionclip_fixed"](n, 8, training(0)) == expected, f"{n} frames"


def test_actionclip_shifts_at_random_in_training() -> None:
    for n in LENGTHS:
        case, drawn = f"{n} frames", drawn_by("actionclip", n)
        if n > 8:
            check_segments(drawn, [math.floor(i * n / 8) for i in range(9)], case=case)
            continue
        assert all(set(frames) == set(range(n)) for frames in drawn), case
        assert n in (1, 8) or len(set(map(tuple, drawn))) > 1, case


def test_xclip_scores_the_published_frames() -> None:
    for n, expected in (
        (40, [2, 7, 12, 17, 22, 27, 32, 37]),
        (36, [2, 6, 11, 15, 20, 24, 29, 33]),
        (15, [0, 2, 4, 6, 8, 10, 12, 14]),
        (1, [0] * 8),
    ):
        assert SAMPLERS["xclip"](n, 8, scoring()) == expected, f"{n} frames"
        assert SAMPLERS["xclip_whole"](n, 8, scoring()) == expected, f"{n} frames"


def test_xclip_never_trains_on_the_tail_and_its_other_rule_does() -> None:
    for n in LENGTHS:
        case = f"{n} frames"
        drawn, whole = drawn_by("xclip", n), drawn_by("xclip_whole", n)
        if n < 8:
            expected = sorted(round(i * n / 8) % n for i in range(8))
            assert all(sorted(frames) == expected for frames in (*drawn, *whole)), case
            continue
        check_segments(drawn, [i * (n // 8) for i in range(9)], case=case)
        check_segments(whole, [math.floor(i * n / 8) for i in range(9)], case=f"{case}, whole")


def test_a5_draws_consecutive_candidates_at_a_random_rate() -> None:
    """Published: candidates at one of the rates, all frames where those are at most 16."""
    for n in LENGTHS:
        case, drawn = f"{n} frames", drawn_by("a5", n, num=16, draws=200)
        if n <= 16:
            assert all(frames == padded(n, 16) for frames in drawn), case
            continue
        allowed = set()
        for every in (1, 2, 3, 4):
            for offset in range(every):
                points = np.linspace(offset, n - 1, round(n / every)).astype(int).tolist()
                points = points if len(points) > 16 else list(range(n))
                allowed |= {tuple(points[s : s + 16]) for s in range(len(points) - 16)}
        assert {tuple(frames) for frames in drawn} <= allowed, case
        assert n == 17 or len({tuple(frames) for frames in drawn}) > 1, case


def test_vitaclip_takes_every_sixteenth_frame() -> None:
    for n in (*LENGTHS, 113, 114, 300):
        case, drawn = f"{n} frames", drawn_by("vitaclip_dense", n)
        views = [SAMPLERS["vitaclip_dense"](n, 8, scoring(view, 3)) for view in range(3)]
        if n <= 113:
            reached = (n - 1) // 16 * 16
            assert all(frames == [min(16 * i, reached) for i in range(8)] for frames in drawn), case
            assert all(frames == [min(16 * i, n - 1) for i in range(8)] for frames in views), case
            continue
        assert {frames[0] for frames in drawn} <= set(range(n - 112)), case
        assert all(np.diff(frames).tolist() == [16] * 7 for frames in (*drawn, *views)), case
        assert [frames[0] for frames in views] == [0, (n - 113) // 2, n - 113], case


def test_vitaclip_segments_include_both_ends() -> None:
    for n in LENGTHS:
        ends, drawn = [round((n - 1) / 8 * i) for i in range(9)], drawn_by("vitaclip_tsn", n)
        for i, (first, last) in enumerate(pairwise(ends)):
            found = {frames[i] for frames in drawn}
            assert found <= set(range(first, last + 1)), f"{n} frames, segment {i}"
            assert first == last or len(found) > 1, f"{n} frames, segment {i}"


def test_viclip_draws_any_frame_but_the_last_of_each_segment() -> None:
    for n in LENGTHS:
        case = f"{n} frames"
        middles, drawn = SAMPLERS["viclip"](n, 8, scoring()), drawn_by("viclip", n)
        if n < 8:
            assert middles == padded(n, 8), case
            assert all(frames == padded(n, 8) for frames in drawn), case
            continue
        ends = [math.floor(x) for x in np.linspace(0, n, 9)]
        assert middles == [math.floor((s + e - 1) / 2) for s, e in pairwise(ends)], case
        if min(e - s for s, e in pairwise(ends)) < 2:  # a random subset of the whole clip
            assert all(sorted(set(frames)) == frames for frames in drawn), case
            assert {f for frames in drawn for f in frames} == set(range(n)), case
            continue
        for i, (first, end) in enumerate(pairwise(ends)):
            found = {frames[i] for frames in drawn}
            assert found <= set(range(first, end - 1)), f"{case}, segment {i}"
            assert len(found) > 1 or end - first == 2, f"{case}, segment {i}"


def test_viclips_demo_takes_every_so_many_frames_from_the_first() -> None:
    for n in LENGTHS:
        frames = SAMPLERS["viclip_demo"](n, 8, scoring())
        assert frames == SAMPLERS["viclip_demo"](n, 8, training(0)), f"{n} frames"
        assert n < 8 or frames == list(range(n))[:: n // 8][:8], f"{n} frames"


def test_settings_that_draw_nothing_are_refused() -> None:
    for inputs in ({"num_frames": 0}, {"views": 0}, {"sampling": "all"}):
        with pytest.raises(ConfigError, match=next(iter(inputs))):
            Inputs(unit="clip", **inputs)  # type: ignore[arg-type]
