from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import World

from stclip.config import BoxSource
from stclip.config.table import MainTable, PublishedShare
from stclip.detect.quality import (
    Quality,
    box_filters,
    ceiling,
    coco_precision,
    measure,
    measure_ground_truth,
    read_quality,
    recall,
    write_quality,
)
from stclip.errors import ConfigError, DataError
from stclip.records import BOX_COLUMNS, Detections
from stclip.tables.detector_table import (
    build_detectors,
    published_shares,
)

BOX = [0, 0, 10, 10]


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Rows of clip, frame, box and perhaps a score."""
    cells = [(clip, frame, *box, *score) for clip, frame, box, *score in rows]
    columns = ["clip", "frame", *BOX_COLUMNS, "detector_score"]
    return pd.DataFrame(cells, columns=columns[: len(cells[0])])


TRUTH = table(("a", 0, BOX), ("a", 1, BOX), ("b", 0, BOX), ("b", 1, BOX))


def test_precision_of_hand_made_boxes() -> None:
    # Two of four persons found exactly, ranked above a miss: precision 1 up to recall 0.5, 0
    # beyond. Of COCO's 101 recall points 0, 0.01 .. 0.50 are 51.
    found = table(
        ("a", 0, BOX, 0.9), ("a", 1, BOX, 0.8), ("b", 0, [50, 50, 60, 60], 0.1)
    )  # fmt: skip
    ap, ap50, ar = coco_precision(found, TRUTH)
    assert ap == pytest.approx(51 / 101)
    assert ap50 == pytest.approx(51 / 101)
    assert ar == pytest.approx(0.5)
    assert recall(found, TRUTH) == 0.5


def test_a_rough_box_counts_up_to_its_iou() -> None:
    # IoU 8 / 10 reaches the thresholds 0.50 .. 0.80, 7 of 10; every person is found so.
    found = TRUTH.assign(y2=8.0, detector_score=0.5)
    ap, ap50, ar = coco_precision(found, TRUTH)
    assert (ap, ap50, ar) == (pytest.approx(0.7), pytest.approx(1.0), pytest.approx(0.7))
    assert recall(found, TRUTH) == 1


def test_boxes_where_nobody_is_annotated_are_false_positives() -> None:
    # Ranked first, in a frame without a person: precision 1/2, 2/3, 3/4, 4/5, so the envelope
    # is 4/5 at every recall.
    found = pd.concat([table(("c", 7, BOX, 0.99)), TRUTH.assign(detector_score=0.5)])
    assert coco_precision(found, TRUTH)[0] == pytest.approx(0.8)


def test_no_box_at_all_is_zero() -> None:
    nothing = TRUTH.assign(detector_score=0.5)[:0]
    assert coco_precision(nothing, TRUTH) == (0, 0, 0)
    assert recall(nothing, TRUTH) == 0


def test_a_second_person_needs_a_box_of_its_own_frame() -> None:
    truth = table(("a", 0, BOX), ("a", 0, [50, 0, 60, 10]), ("a", 1, BOX))
    found = table(("a", 0, BOX, 0.9), ("a", 0, [0, 0, 10, 9], 0.8))
    assert recall(found, truth) == pytest.approx(1 / 3)


def test_the_ceiling_knows_every_class(world: World) -> None:
    """Split of the world: unseen clap (clip_8) and jump (clip_9), 13 and 11 frames."""
    truth = world.boxes.table
    found = truth.drop(columns="actions").assign(detector_score=0.9)
    assert ceiling(found, truth, split=world.split, clips=world.clips) == 1
    # clip_8 lost: clap has no box, jump is whole.
    kept = found[found["clip"] != "clip_8"]
    assert ceiling(kept, truth, split=world.split, clips=world.clips) == 0.5
    # A surer box beside every person of clip_9: precision k / 2k, and 1/2 at every recall.
    beside = found[found["clip"] == "clip_9"].assign(x1=50, x2=60, detector_score=0.95)
    both = pd.concat([found, beside])
    # All 11 wrong boxes rank first: at recall k / 11 precision is k / (11 + k), best 11 / 22.
    assert ceiling(both, truth, split=world.split, clips=world.clips) == pytest.approx(0.75)


def test_the_ceiling_of_persons_with_labels_of_their_own(world: World) -> None:
    """Two persons a frame of whom each does something else; a box of nobody has no label."""
    near = table(("clip_8", 0, BOX), ("clip_8", 0, [50, 0, 60, 10]))
    truth = near.assign(actions=[["clap", "run"], ["jump"]])
    found = pd.concat([near, table(("clip_8", 0, [70, 0, 80, 10]))]).assign(detector_score=0.9)
    alike = {"split": world.split, "clips": world.clips}
    assert ceiling(found, truth, together=True, **alike) == 1
    assert ceiling(found, truth, **alike) < 1  # every box has its clip's label, clap
    assert ceiling(found.iloc[1:], truth, together=True, **alike) == 0.5  # clap is lost


def sources() -> dict[str, BoxSource]:
    return {
        "detected": BoxSource(source="detections", within=0.001),
        "best": BoxSource(source="detections", top=1),
        "gt": BoxSource(source="ground_truth"),
    }


def judge(world: World, detections: Detections | None = None, *, every: int = 1) -> list[Quality]:
    return measure(
        "found", {world.split.name: detections or world.detections},
        world.with_key_frames(every=every), filters=box_filters(sources()), splits=[world.split],
    )  # fmt: skip


def test_every_filter_has_its_row(world: World) -> None:
    rows = {row.boxes: row for row in judge(world)}
    assert list(rows) == ["all", "detected", "best"]
    # Test clips have 13 + 11 + 12 + 13 + 11 = 60 frames; 6 + 5 + 6 + 6 + 5 = 28 have two boxes.
    assert rows["all"].boxes_per_frame == pytest.approx(88 / 60)
    assert rows["best"].boxes_per_frame == 1
    assert rows["all"].frames_without_box == 0
    assert rows["all"].recall50 == 1
    # (20 x 35 shifted by one) IoU 646 / 754 = 0.857: 0.50 .. 0.85, 8 of 10 thresholds
    assert rows["best"].ap == pytest.approx(0.8)
    assert rows["best"].ceilings == {"1": 1.0}


def test_boxes_of_several_splits_are_averaged(world: World) -> None:
    second = replace(world.split, name="2")
    half = Detections(world.detections.table[world.detections.table["clip"] != "clip_8"])
    rows = measure(
        "tuned", {"1": world.detections, "2": half}, world.data, filters=box_filters(sources()),
        splits=[world.split, second],
    )  # fmt: skip
    best = next(row for row in rows if row.boxes == "best")
    assert best.recall50 == pytest.approx((1 + 47 / 60) / 2)  # clip_8 has 13 of 60 frames
    assert best.frames_without_box == pytest.approx((0 + 13 / 60) / 2)
    assert best.ceilings == {"1": 1.0, "2": 0.5}


def test_key_frames_alone_count(world: World) -> None:
    (row, *_) = judge(world, every=5)
    # Frames 0, 5, 10 of five clips; 5 is odd and has a second box.
    assert row.boxes_per_frame == pytest.approx(20 / 15)


def test_ground_truth_is_the_reference(world: World) -> None:
    (row,) = measure_ground_truth(world.data, sources=sources(), splits=[world.split])
    assert (row.detector, row.boxes, row.boxes_per_frame) == ("ground truth", "gt", 1)
    assert (row.ap, row.ar, row.recall50, row.ceilings) == (1, 1, 1, {"1": 1.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": "clip_77"}, r"boxes of clip 'clip_77', which clips\.parquet does not list"),
        ({"frame": 99}, r"detections in frame 99 of clip 'clip_9', whose frames are 0 to 10"),
        ({"frame": -1}, r"detections in frame -1 of clip 'clip_9', whose frames are 0 to 10"),
    ],
)
def test_boxes_where_no_frame_is_are_refused(
    world: World, changes: dict[str, object], message: str
) -> None:
    rows = world.detections.table
    last = rows[rows["clip"] == "clip_9"].assign(**changes)  # type: ignore[arg-type]
    wrong = Detections(pd.concat([rows[rows["clip"] != "clip_9"], last]))
    with pytest.raises(DataError, match=message):
        judge(world, wrong)


def test_boxes_outside_the_picture_and_without_area_are_not_counted(world: World) -> None:
    rows = world.detections.table
    extra = rows[:2].assign(clip="clip_9", frame=0, score=0.99)
    extra[BOX_COLUMNS] = [[100, 100, 200, 200], [20, 20, 20, 30]]
    more = Detections(pd.concat([rows, extra]))
    before = judge(world)
    after = judge(world, more)
    assert after[0].boxes_per_frame == before[0].boxes_per_frame
    assert after[0].ap == before[0].ap


ABOUT = {"scale": "paper", "dataset": "jhmdb", "title": "ZS-JHMDB", "benchmark": "b@1"}
ABOUT |= {"splits": ["1", "2"]}
ROW = Quality("v2", "top3", 0.5, 0.75, 0.6, 1.5, 0.01, 0.9, {"1": 0.9, "2": 0.8})


def test_the_table_s_cells() -> None:
    frame = build_detectors([(ABOUT, [ROW])], {})
    assert frame.iloc[0].to_dict() == {
        "data set": "ZS-JHMDB", "detector": "v2", "boxes": "top3", "AP": "50.00", "AP50": "75.00",
        "AR": "60.00", "boxes a frame": "1.50", "frames without": "1.00", "recall@0.5": "90.00",
        "ceiling split 1": "90.00", "ceiling split 2": "80.00", "ceiling avg": "85.00",
        "scale": "paper", "benchmark": "b@1",
    }  # fmt: skip


def test_the_published_gap_stands_beside_the_ceiling() -> None:
    values = {
        "independent": {
            "st_clip": {
                "detected": {"1": 72.0, "2": 60.0, "avg": 66.0},
                "gt": {"1": 80.0, "2": 80.0, "avg": 80.0},
            }
        }
    }
    content = {
        "kind": "main", "title": "", "note": "", "dataset": "jhmdb", "rows": "all",
        "splits": ["1", "2"], "columns": ["avg"], "published": values,
    }  # fmt: skip
    of_paper = MainTable.model_validate(content)
    share = PublishedShare(table="t", assumption="independent", method="st_clip")
    shares = {"jhmdb": published_shares(of_paper, share)}
    other = {**ABOUT, "dataset": "other", "title": "Other", "splits": ["1"]}
    reference = replace(ROW, detector="ground truth")
    frame = build_detectors([(ABOUT, [ROW]), (other, [ROW]), (ABOUT, [reference])], shares)
    columns = ["published share 1", "published share 2", "published share avg"]
    assert frame.loc[0, columns].tolist() == ["90.00", "75.00", "82.50"]
    assert frame.loc[1, columns].tolist() == ["-", "-", "-"]
    assert frame.loc[2, columns].tolist() == ["-", "-", "-"], "perfect boxes open no gap"
    with pytest.raises(ConfigError, match=r"independent\.st_clip must have detected and gt"):
        published_shares(of_paper.model_copy(update={"published": {"independent": {}}}), share)


def test_a_missing_split_prints_a_dash() -> None:
    frame = build_detectors([({**ABOUT, "splits": ["1", "2", "3"]}, [ROW])], {})
    assert frame.loc[0, ["ceiling split 3", "ceiling avg"]].tolist() == ["-", "-"]


def test_scales_are_not_mixed() -> None:
    with pytest.raises(DataError, match=r"scales \['mini', 'paper'\] cannot share a table"):
        build_detectors([(ABOUT, [ROW]), ({**ABOUT, "scale": "mini"}, [ROW])], {})


def test_quality_files_round_trip(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "quality.json"
    write_quality(path, [ROW], ABOUT)
    assert read_quality(path) == (ABOUT, [ROW])
    for content, message in (
        ("[]", "not a quality file"),
        ("{}", "not a quality file"),
        ('{"rows": [{"detector": "x"}]}', "not a quality file"),
        ('{"rows": []}', r"lacks \['benchmark', 'dataset', 'scale', 'splits', 'title'\]"),
        ("", "not valid JSON"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=rf"quality\.json: .*{message}"):
            read_quality(path)


def test_boxes_survive_as_numbers() -> None:
    assert np.isfinite(TRUTH[BOX_COLUMNS].to_numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny"], r"'tiny': expected NAME=FILE or NAME:SPLIT=FILE with a split of \['1', '2'\]"),
        (["tiny:9=a"], r"'tiny:9=a': expected NAME=FILE"),
        (["tiny:1=a"], r"detector 'tiny': no file for the splits \['2'\]"),
    ],
)
def test_files_of_detectors_are_named_completely(arguments: list[str], message: str) -> None:
    from stclip.cli.detect import _by_detector

    with pytest.raises(ConfigError, match=message):
        _by_detector(arguments, ["1", "2"])
    both = _by_detector(["v2=a", "tuned:1=b", "tuned:2=c"], ["1", "2"])
    assert {n: [str(p) for p in files.values()] for n, files in both.items()} == {
        "v2": ["a", "a"],
        "tuned": ["b", "c"],
    }
