"""The picture of what a run says: which persons it shows, and that it is always the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import UNSEEN, World, key_frames
from PIL import Image

from stclip.evaluate.protocol import PROTOCOLS
from stclip.records import Boxes, Clips, Data, Scores
from stclip.report.lettering import RIGHT, WRONG
from stclip.report.predictions import judge, write_predictions

IOU_HALF = PROTOCOLS["iclip"]
BOX = ["clip", "frame", "x1", "y1", "x2", "y2"]


def scores(rows: list[tuple[str, int, tuple[int, int, int, int], float, tuple[float, ...]]]):  # type: ignore[no-untyped-def]
    """Clip, frame, box, detector score, a probability for each of the labels clap and jump."""
    table = pd.DataFrame([(c, f, *b) for c, f, b, _, _ in rows], columns=BOX)
    table["detector_score"] = [r[3] for r in rows]
    return Scores.from_parts(table, np.array([r[4] for r in rows]).reshape(-1, 2), UNSEEN)


def truth(rows: list[tuple[str, int, tuple[int, int, int, int], list[str]]]) -> Boxes:
    table = [(c, f, *b, 0, actions) for c, f, b, actions in rows]
    return Boxes(pd.DataFrame(table, columns=[*BOX, "tube", "actions"]))


def judged(found: Scores, people: Boxes, *, every: int = 1) -> pd.DataFrame:
    """Of clip a; clips have three frames, of which every n-th is a key frame."""
    rows = [(clip, 3, "test", 60, 80, 30.0, "none", ["clap"]) for clip in "ab"]
    columns = ["clip", "num_frames", "official_split", "height", "width", "fps", "licence"]
    clips = Clips(pd.DataFrame(rows, columns=[*columns, "actions"]))
    data = Data(
        clips=clips,
        boxes=people,
        key_frames=key_frames(clips, people, every=every),
        frames=Path("none"),
    )
    return judge(found, data, clips=["a"], protocol=IOU_HALF)


def test_the_box_that_overlaps_most_speaks_for_a_person() -> None:
    person = (0, 0, 10, 10)
    boxes = [((0, 0, 10, 9), 0.5, (0.2, 0.8)), ((0, 0, 10, 8), 1.0, (0.9, 0.1))]
    found = scores([("a", 0, *box) for box in boxes])
    (row,) = judged(found, truth([("a", 0, person, ["jump"])])).to_dict("records")
    # IoU 0.9 beats 0.8, though the other box scores higher; 0.5 x 0.8 is its best product.
    assert (row["row"], row["right"], row["named"]) == (0, True, True)
    assert row["overlap"] == pytest.approx(0.9)
    assert row["best"] == pytest.approx(0.4)


def test_a_right_name_on_a_box_that_overlaps_too_little_is_wrong() -> None:
    found = scores([("a", 0, (0, 0, 10, 4), 1.0, (0.9, 0.1))])
    people = truth([("a", 0, (0, 0, 10, 10), ["clap"]), ("a", 0, (50, 0, 60, 10), ["clap"])])
    table = judged(found, people)
    assert table["overlap"].tolist() == pytest.approx([0.4, 0])
    assert table["row"].tolist() == [0, -1]
    assert not table["right"].any()


def test_a_person_with_two_labels_is_right_by_either_of_them() -> None:
    found = scores([("a", 0, (0, 0, 10, 10), 1.0, (0.9, 0.1))])
    people = truth([("a", 0, (0, 0, 10, 10), ["clap", "jump"])])
    table = judged(found, people).set_index("label")
    assert table["right"].tolist() == [True, True]
    assert table["named"].to_dict() == {"clap": True, "jump": False}


def test_other_clips_frames_and_labels_do_not_count() -> None:
    person = (0, 0, 10, 10)
    people = truth(
        [("a", 0, person, ["clap"]), ("a", 1, person, ["clap"]), ("b", 0, person, ["clap"]),
         ("a", 2, person, ["run"])]
    )  # fmt: skip
    nothing = scores([])
    table = judged(nothing, people, every=2)
    assert table[["clip", "frame", "row", "best"]].to_numpy().tolist() == [["a", 0, -1, 0.0]]


def draw(world: World, out: Path) -> np.ndarray:
    """Scores whose best name is clap for everybody: clap is always right, jump never."""
    table = world.detections.table.rename(columns={"score": "detector_score"})
    table = table[table["clip"].isin(world.split.unseen_clips)]
    probabilities = np.tile([0.8, 0.2], (len(table), 1))
    write_predictions(
        out,
        Scores.from_parts(table, probabilities, UNSEEN),
        world.data,
        clips=world.split.unseen_clips,
        protocol=IOU_HALF,
        title="a title",
    )
    return np.asarray(Image.open(out).convert("RGB"))


def test_hits_and_misses_are_drawn_and_always_the_same(world: World, tmp_path: Path) -> None:
    picture = draw(world, tmp_path / "1.png")
    draw(world, tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    for colour in (RIGHT, WRONG):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == wanted).all(2).sum() > 100, colour
    # Of random noise a frame differs from pixel to pixel; two frames are there (the hit of clap and
    # the miss of jump), in the other two places is nothing to show.
    grey = (picture == [0xEE, 0xF0, 0xF2]).all(2).mean()
    assert 0.1 < grey < 0.6
