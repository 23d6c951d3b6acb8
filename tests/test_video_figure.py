"""The figure in motion: which clips it shows, what it draws on them, and that it is small."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import UNSEEN, World, key_frames, make_world
from PIL import Image

from stclip.config.figure import load_figure
from stclip.errors import ConfigError, DataError
from stclip.evaluate.protocol import PROTOCOLS
from stclip.records import Boxes, Clips, Data, Scores
from stclip.report.figure_kinds import draw_figure
from stclip.report.lettering import PAPER, RIGHT, WRONG
from stclip.report.overlay import BAR, BAR_WIDTH, ShownPerson, draw_persons
from stclip.report.video_figure import LINE, PANEL, shown_clips, write_video

BOX = ["clip", "frame", "x1", "y1", "x2", "y2"]
PERSON, APART = (0, 0, 10, 10), (20, 0, 30, 10)
RULES: Any = {"protocol": PROTOCOLS["iclip"], "patience_s": 0.2, "count": 6}
FIGURE = {
    "kind": "video", "title": "In motion", "note": "A note.", "dataset": "jhmdb", "split": "1",
    "method": "clip_frame",
}  # fmt: skip


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def is_colour(picture: np.ndarray, colour: str) -> np.ndarray:
    return (picture == rgb(colour)).all(-1)


def test_boxes_bars_and_numbers_are_drawn_where_they_belong() -> None:
    frame = np.full((60, 120, 3), 90, np.uint8)
    frame.setflags(write=False)  # as the frame store gives them
    person = ShownPerson((10, 20, 30, 50), [("clap", 1.0), ("jump", 0.5), ("sit", 0.0)], RIGHT, 7)
    picture = draw_persons(frame, [person], annotated_xyxy=np.array([[100.0, 5, 110, 55]]), scale=2)
    assert picture.shape == (120, 240, 3)
    assert (frame == 90).all()
    box = is_colour(picture, RIGHT)
    assert box[60, 20] and box[60, 60] and box[100, 40]  # noqa: PT018  left, right, lower side
    assert not box[60, 40]
    # Bars begin beside the box, at its upper side; as long as the scores of 1, 0.5 and 0.
    left = 63
    bars = is_colour(picture, BAR)
    for line, length in enumerate([BAR_WIDTH - 1, round(0.5 * (BAR_WIDTH - 1)), 0]):
        row = bars[40 + line * 15, left : left + BAR_WIDTH]  # the first row has no letters
        assert row.sum() == length + 1
        assert row[: length + 1].all()
    assert is_colour(picture, PAPER)[60, 200]  # the annotated one
    # a number above the box, with white digits
    assert is_colour(picture, RIGHT)[28, 21]
    assert is_colour(picture[25:40, 20:50], PAPER).any()
    without = draw_persons(frame, [ShownPerson((10, 20, 30, 50), [], RIGHT)], scale=2)
    assert not is_colour(without, RIGHT)[28, 21]


def test_at_the_border_everything_stays_inside() -> None:
    frame = np.zeros((40, 100, 3), np.uint8)
    person = ShownPerson((60, -5, 140, 80), [("a very long label of an action", 0.25)], WRONG, 1)
    picture = draw_persons(frame, [person])
    assert is_colour(picture, BAR).sum() > 20  # to the left of it, cut
    assert is_colour(picture, WRONG).any()


def scores(rows: list[tuple[str, int, tuple[int, ...], tuple[float, float]]]) -> Scores:
    table = pd.DataFrame([(c, f, *b) for c, f, b, _ in rows], columns=BOX)
    return Scores.from_parts(
        table.assign(detector_score=1.0), np.array([r[3] for r in rows]).reshape(-1, 2), UNSEEN
    )


def clips_of_two_labels() -> Data:
    """Of clap the clips a, b, c and d, of jump e; three frames each, a person on all of them."""
    labels = dict.fromkeys("abcd", "clap") | {"e": "jump"}
    about = [(c, "test", 3, 48, 64, 30.0, "none", [label]) for c, label in labels.items()]
    clips = Clips(pd.DataFrame(about, columns=list(Clips.COLUMNS)))
    rows = [(c, f, *PERSON, 0, [label]) for c, label in labels.items() for f in range(3)]
    boxes = Boxes(pd.DataFrame(rows, columns=[*BOX, "tube", "actions"]))
    return Data(clips=clips, boxes=boxes, key_frames=key_frames(clips, boxes), frames=Path("none"))


CLAP, JUMP = (0.9, 0.1), (0.2, 0.8)


def test_of_each_label_the_clip_of_median_success_is_shown() -> None:
    found = scores(
        [
            *(("a", f, PERSON, CLAP) for f in range(3)),  # right on 3 of 3
            *(("b", f, PERSON, CLAP if f else JUMP) for f in range(3)),  # 2 of 3
            *(("c", f, PERSON, JUMP) for f in range(3)),  # none
            ("d", 0, PERSON, CLAP),  # right, but of fewer key frames
            *(("e", f, PERSON if f else APART, JUMP) for f in range(3)),  # once beside the person
        ]
    )
    clap, jump = shown_clips(found, clips_of_two_labels(), clips=list("abcde"), **RULES)
    assert (clap.clip, clap.label, clap.frames, jump.clip) == ("b", "clap", [0, 1, 2], "e")
    assert clap.step_s == pytest.approx(1 / 30)
    assert [clap.persons[f][0].colour for f in range(3)] == [WRONG, RIGHT, RIGHT]
    assert clap.persons[0][0].names == [("jump", pytest.approx(0.8)), ("clap", pytest.approx(0.2))]
    assert [person.track for f in range(3) for person in clap.persons[f]] == [1, 1, 1]
    assert [jump.persons[f][0].colour for f in range(3)] == [WRONG, RIGHT, RIGHT]
    assert clap.annotated[1].tolist() == [list(PERSON)]
    (one,) = shown_clips(found, clips_of_two_labels(), clips=list("abcde"), **RULES | {"count": 1})
    assert one.label == "clap"


def test_scores_of_other_clips_show_nothing() -> None:
    with pytest.raises(DataError, match="none of the 1 test clips has both a scored box"):
        shown_clips(scores([]), clips_of_two_labels(), clips=["a"], **RULES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("world"))
    (made.config / "figures").mkdir()
    (made.config / "figures" / "one.yaml").write_text(yaml.safe_dump(FIGURE))
    return made


def draw(world: World, out: Path) -> None:
    """clip_8 claps and clip_9 jumps; everybody is said to clap."""
    table = world.detections.table.rename(columns={"score": "detector_score"})
    table = table[table["clip"].isin(world.split.unseen_clips)]
    run = world.folder / "run"
    found = Scores.from_parts(table, np.tile([0.8, 0.2], (len(table), 1)), UNSEEN)
    found.write(run / "scores_detected_unseen.parquet")
    draw_figure(
        "one", world.data, folders=[run], splits=[world.split], out=out, config=world.config,
        scale="small",
    )  # fmt: skip


def test_the_figure_moves_and_is_always_the_same(world: World, tmp_path: Path) -> None:
    draw(world, tmp_path / "1.gif")
    draw(world, tmp_path / "2.gif")
    assert (tmp_path / "1.gif").read_bytes() == (tmp_path / "2.gif").read_bytes()
    with Image.open(tmp_path / "1.gif") as picture:
        assert picture.n_frames == 13  # of clip_8; clip_9 has 11 and waits
        assert picture.info["duration"] == 30  # 33 ms, in steps of 10
        shown = []
        for number in range(13):
            picture.seek(number)
            shown.append(np.asarray(picture.convert("RGB")))
    assert picture.info["loop"] == 0
    top = shown[0].shape[0] - PANEL * 48 // 64  # less the strip
    left, right = (frame[top - LINE :, :PANEL] for frame in (shown[0], shown[5]))
    assert (left != right).any(-1).mean() > 0.3  # of random pictures
    second = [frame[:, PANEL + 20 :] for frame in shown]
    assert (second[10] == second[12]).all()
    assert (second[9] != second[10]).any()
    # clip_8 claps; the palette gives a few random pixels the boxes' colours too
    many = {
        colour: [is_colour(half, colour).sum() for half in (shown[0][:, : PANEL + 10], second[0])]
        for colour in (RIGHT, WRONG)
    }
    assert many[RIGHT][0] > 3 * many[RIGHT][1]
    assert many[WRONG][1] > 3 * many[WRONG][0]


def test_a_video_is_a_gif_of_boxes_that_there_are(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--out .*1\.png: figure one is a \.gif"):
        draw(world, tmp_path / "1.png")
    path = world.config / "figures" / "two.yaml"
    path.write_text(yaml.safe_dump(FIGURE | {"boxes": "gts"}))
    with pytest.raises(ConfigError, match=r"unknown box source of jhmdb 'gts'; .* nearest is 'gt'"):
        load_figure(world.config, "two", scale="small")


def test_still_noise_is_not_stored(tmp_path: Path) -> None:
    """A pixel that changes little between key frames stays: the file is a fraction."""
    from stclip.storage.frame_store import write_clip

    rng = np.random.default_rng(0)
    still = rng.integers(60, 200, (48, 64, 3), np.uint8)
    sizes = []
    for most in (2, 60):
        noise = rng.integers(0, most, (3, 48, 64, 3), np.uint8)
        write_clip(tmp_path / str(most), "b", still + noise)
        found = scores([("b", f, PERSON, CLAP) for f in range(3)])
        clips = shown_clips(found, clips_of_two_labels(), clips=list("abcde"), **RULES)
        out = tmp_path / f"{most}.gif"
        write_video(out, clips, tmp_path / str(most), title="a", lines=["b"])
        sizes.append(out.stat().st_size)
    assert sizes[0] < 0.6 * sizes[1]
