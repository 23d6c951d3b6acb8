"""Persons' boxes linked in two rounds by score; AVA's person ids say what is right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, World

from stclip.boxes.two_scores import TwoScoreLinking, track_numbers
from stclip.config import TwoScores, load_method
from stclip.errors import ConfigError
from stclip.inputs.batch import Inputs
from stclip.inputs.person_tracks import tracks
from stclip.inputs.samples import make_samples
from stclip.records import BOX_COLUMNS

AVA = ROOT.parent / "shared" / "data" / "ava" / "ava_val_v2.2_excerpt.csv"
SETTINGS = TwoScores(high=0.6, iou=0.2, low_iou=0.5)


def table_of(rows: list[tuple[int, float, float]], clip: str = "a") -> pd.DataFrame:
    """frame, x1, score; boxes are 20 x 40."""
    table = pd.DataFrame(rows, columns=["frame", "x1", "detector_score"])
    table = table.assign(clip=clip, y1=5.0, x2=table["x1"] + 20.0, y2=45.0)
    return table.assign(origin="detections", stored=table.index)


def linked(rows: list[tuple[int, float, float]], *, patience_s: float = 2.0) -> list[int]:
    """At one frame a second."""
    return tracks(
        table_of(rows), fps={"a": 1.0}, patience_s=patience_s, two_scores=SETTINGS
    ).tolist()


def test_all_tracks_choose_at_once_so_that_most_overlaps() -> None:
    # Of frame 1 the box at 10 overlaps both tracks (IoU 10/30 and 18/22), the one at -4 the first
    # alone (16/24). Best first, the first track would take the box at 10, and the other two are
    # left apart.
    rows = [(0, 0.0, 0.9), (0, 12.0, 0.8), (1, 10.0, 0.9), (1, -4.0, 0.7)]
    assert linked(rows) == [0, 1, 1, 0]


def test_weak_boxes_take_the_tracks_that_are_left_and_begin_new_ones() -> None:
    # Frame 1: a weak box sits exactly on the track, but a sure one near it goes first.
    rows = [(0, 0.0, 0.9), (1, 0.0, 0.3), (1, 5.0, 0.7), (2, 6.0, 0.2), (2, 100.0, 0.1)]
    # Of the weak ones in frame 2 one continues (IoU 19 / 21), the other is somebody new.
    assert linked(rows) == [0, 1, 0, 0, 2]
    # 8 pixels off: IoU 12 / 28, enough in the first round (0.2), too little in the second (0.5).
    assert linked([(0, 0.0, 0.9), (1, 8.0, 0.9)]) == [0, 0]
    assert linked([(0, 0.0, 0.9), (1, 8.0, 0.5)]) == [0, 1]


def test_patience_counts_seconds() -> None:
    rows = [(0, 0.0, 0.9), (2, 0.0, 0.9), (5, 0.0, 0.9)]
    assert linked(rows) == [0, 0, 1]  # three seconds are too long
    assert linked(rows, patience_s=3.0) == [0, 0, 0]
    found = tracks(
        table_of([(30 * f, x, s) for f, x, s in rows]), fps={"a": 30.0}, patience_s=2.0,
        two_scores=SETTINGS,
    )  # fmt: skip
    assert found.tolist() == [0, 0, 1]
    with pytest.raises(ConfigError, match="patience must be at least 1"):
        TwoScoreLinking(high=0.5, iou=0.5, low_iou=0.5, patience=0)


def test_rows_may_come_in_any_order_and_groups_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    places = [(frame, 30 * person) for frame in range(6) for person in range(3)]
    rows = [(frame, x + rng.uniform(-3, 3), rng.random()) for frame, x in places]
    table = pd.concat([table_of(rows, clip) for clip in "ab"], ignore_index=True)
    about = {"fps": {"a": 1.0, "b": 1.0}, "patience_s": 1.0, "two_scores": SETTINGS}
    found = tracks(table, **about)
    shuffled = table.sample(frac=1, random_state=0)
    again = tracks(shuffled.reset_index(drop=True), **about)
    assert again.tolist() == found[shuffled.index].tolist()
    assert pd.Series(found).groupby([table["clip"], found]).size().tolist() == [6] * 6
    empty = np.empty(0, np.int64)
    linking = TwoScoreLinking(high=0.6, iou=0.2, low_iou=0.5, patience=1)
    assert not len(track_numbers(
        groups=empty, frames=empty, boxes_xyxy=np.empty((0, 4)), scores=np.empty(0),
        linking=linking,
    ))  # fmt: skip


def test_annotated_tubes_are_kept() -> None:
    table = table_of([(0, 0.0, 1.0), (1, 0.0, 1.0)]).assign(tube=[4, 7])
    assert tracks(table, fps={"a": 1.0}, two_scores=SETTINGS).tolist() == [4, 7]


def test_a_data_set_says_how_persons_are_linked(world: World) -> None:
    path = world.config / "datasets" / "jhmdb.yaml"
    written = "min_length_s: 0.5, two_scores: { high: 0.7 } }"
    path.write_text(path.read_text().replace("min_length_s: 0.5 }", written))
    config = load_method(world.config, "vitaclip", dataset="jhmdb", scale="small")
    assert config.two_scores == TwoScores(high=0.7)
    # The two of clip_8 stay apart, every box is of a sample.
    table = table_of([(f, 40.0 * p, 0.9) for f in range(4) for p in range(2)], "clip_8")
    samples = make_samples(
        table, world.clips, inputs=Inputs(unit="tracklet"), patience_s=config.patience_s,
        two_scores=config.two_scores,
    )  # fmt: skip
    assert sorted(len(sample.rows) for sample in samples) == [4, 4]


@pytest.mark.skipif(not AVA.exists(), reason=f"needs {AVA}")
@pytest.mark.parametrize(("iou", "kept", "wrong", "made"), [(0.2, 50, 14, 64), (0.5, 48, 10, 58)])
def test_persons_of_a_real_film_at_one_frame_a_second(
    iou: float, kept: int, wrong: int, made: int
) -> None:
    links, found = _links(AVA, iou)
    assert len(links) == 50
    assert (len(links & found), len(found - links), len(found)) == (kept, wrong, made)


def _links(path: Path, iou: float) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Pairs of boxes in consecutive seconds that are one person, by the ids and as linked."""
    names = ["clip", "frame", *BOX_COLUMNS, "action", "person"]
    table = pd.read_csv(path, names=names).drop_duplicates(["clip", "frame", "person"])
    table = table.reset_index(drop=True).assign(detector_score=1.0)
    settings = TwoScores(high=0.6, iou=iou, low_iou=iou)
    track = tracks(table, fps={"1j20qq1JyX4": 1.0}, patience_s=1.0, two_scores=settings)
    table = table.assign(track=track, row=table.index)

    def pairs(key: str) -> set[tuple[int, int]]:
        after = table.assign(frame=table["frame"] - 1)
        both = table.merge(after, on=["clip", "frame", key], suffixes=("", "_next"))
        return set(zip(both["row"], both["row_next"], strict=True))

    return pairs("person"), pairs("track")
