"""The figure of boxes that show nobody annotated: which frame it shows, and what its boxes are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, UNSEEN, World, key_frames
from PIL import Image

from stclip.config.figure import load_figure
from stclip.errors import ConfigError, DataError
from stclip.evaluate.protocol import PROTOCOLS
from stclip.records import Boxes, Clips, Data, Scores
from stclip.report.lettering import RIGHT, WRONG
from stclip.report.unannotated import ANNOTATED, costliest_frame, write_unannotated

IOU_HALF = PROTOCOLS["iclip"]
BOX = ["clip", "frame", "x1", "y1", "x2", "y2"]
CORNERS = [(0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 10, 4), (40, 0, 50, 10)]
PERSON, OTHER, PART, APART = CORNERS


def scores(rows: list[tuple[str, int, tuple[int, ...], float, tuple[float, float]]]) -> Scores:
    """Clip, frame, box, detector score, the probabilities of clap and jump."""
    table = pd.DataFrame([(c, f, *b) for c, f, b, _, _ in rows], columns=BOX)
    table["detector_score"] = [r[3] for r in rows]
    return Scores.from_parts(table, np.array([r[4] for r in rows]).reshape(-1, 2), UNSEEN)


def people() -> Data:
    """Two persons on frame 0 of each clip, one on frame 1; nobody on frame 2."""
    rows = [
        (clip, frame, *box, tube, ["clap"])
        for clip in "ab"
        for frame, box, tube in ((0, PERSON, 0), (0, OTHER, 1), (1, PERSON, 0))
    ]
    boxes = Boxes(pd.DataFrame(rows, columns=[*BOX, "tube", "actions"]))
    about = [(clip, "test", 3, 48, 64, 30.0, "none", ["clap"]) for clip in "ab"]
    clips = Clips(pd.DataFrame(about, columns=list(Clips.COLUMNS)))
    return Data(clips=clips, boxes=boxes, key_frames=key_frames(clips, boxes), frames=Path("none"))


def test_the_frame_whose_unannotated_boxes_score_most_is_shown_with_what_each_box_counts_as() -> (
    None
):
    found = scores(
        [
            ("a", 0, PERSON, 1.0, (0.9, 0.1)),  # right
            ("a", 0, OTHER, 1.0, (0.2, 0.8)),  # wrong name
            ("a", 0, PART, 0.5, (0.6, 0.4)),  # IoU 0.4 with PERSON: too small
            ("a", 0, APART, 0.5, (0.7, 0.3)),  # 0.35 of nobody
            ("a", 1, PERSON, 1.0, (0.9, 0.1)),
            ("a", 1, APART, 0.3, (1.0, 0.0)),  # 0.30
            ("a", 2, APART, 1.0, (1.0, 0.0)),  # on a frame without any annotated person
            ("b", 0, APART, 0.9, (1.0, 0.0)),  # where nobody is found
        ]
    )
    shown, share = costliest_frame(found, people(), clips=["a", "b"], protocol=IOU_HALF)
    assert (shown.clip, shown.frame) == ("a", 0)
    assert shown.boxes[["name", "kind"]].to_numpy().tolist() == [
        ["clap", "right"],
        ["jump", "wrong name"],
        ["clap", "nobody annotated here"],
        ["clap", "overlap too small"],
    ]
    assert shown.boxes["score"].tolist() == pytest.approx([0.9, 0.8, 0.35, 0.3])
    assert shown.annotated["label"].tolist() == ["clap", "clap"]
    assert share == pytest.approx(4 / 8)  # the box on frame 2 overlaps nobody either
    both = [("b", 0, PERSON, 1.0, (0.1, 0.9)), ("b", 0, APART, 0.2, (1.0, 0.0))]
    assert costliest_frame(scores(both), people(), clips=["b"], protocol=IOU_HALF)[0].clip == "b"


def test_a_run_whose_boxes_are_all_annotated_shows_nothing() -> None:
    for rows in (
        [("a", 0, PERSON, 1.0, (0.9, 0.1)), ("a", 0, PART, 1.0, (0.9, 0.1))],
        [("a", 0, PART, 1.0, (0.9, 0.1)), ("a", 0, APART, 1.0, (0.9, 0.1))],  # nobody is found
    ):
        with pytest.raises(DataError, match=r"of 2 scored boxes none .* boxes of a detector"):
            costliest_frame(scores(rows), people(), clips=["a"], protocol=IOU_HALF)


def test_it_is_drawn_with_every_kind_of_box_and_always_the_same(
    world: World, tmp_path: Path
) -> None:
    table = world.detections.table.rename(columns={"score": "detector_score"})
    table = table[table["clip"].isin(world.split.unseen_clips)]
    found = Scores.from_parts(table, np.tile([0.8, 0.2], (len(table), 1)), UNSEEN)
    clips = world.split.unseen_clips
    shown, _ = costliest_frame(found, world.data, clips=clips, protocol=IOU_HALF)
    for name in ("1.png", "2.png"):
        write_unannotated(tmp_path / name, shown, world.frames, title="a title", lines=["a line"])
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "1.png").convert("RGB"))
    # The person is clap, and right; the box apart of it wrong.
    for colour in (ANNOTATED, RIGHT, WRONG):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == wanted).all(2).sum() > 100, colour


def test_a_figure_s_names_are_checked(world: World) -> None:
    folder = world.config / "figures"
    folder.mkdir()
    text = (ROOT / "config" / "figures" / "figure7.yaml").read_text()
    path = folder / "one.yaml"
    for good, bad, message in (
        ("dataset: ucf101_24", "dataset: ucf", "ucf"),
        ("method: st_clip", "method: st_clop", "st_clop"),
        ("boxes: detected", "boxes: detectd", r"box source of .*'detectd'.*nearest is 'detected'"),
        ("title:", "titel:", "titel"),
    ):
        assert good in text
        path.write_text(text.replace(good, bad))
        with pytest.raises(ConfigError, match=message):
            load_figure(world.config, "one", scale="small")
