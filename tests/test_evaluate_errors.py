"""The error breakdown and its report: kinds and gains worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stclip.evaluate.breakdown import report_part
from stclip.evaluate.error_kinds import error_table
from stclip.evaluate.frame_map import (
    FrameMap,
    LabelledBoxes,
    frame_map,
    own_box_rows,
    shared_box_rows,
)
from stclip.evaluate.matching import FrameBoxes
from stclip.evaluate.protocol import PROTOCOLS, Protocol
from stclip.evaluate.write_breakdown import write_report

BOX, FAR = [0, 0, 10, 10], [50, 0, 60, 10]
LABELS = ["a", "b"]
Scored = tuple[int, list[int], tuple[float, float]]  # frame, box, score for a and for b
True_ = tuple[int, list[int], str]  # frame, box, labels


def judge(
    found: list[Scored], truth: list[True_], protocol: str = "iclip"
) -> tuple[FrameMap, FrameBoxes, LabelledBoxes, Protocol]:
    rules = PROTOCOLS[protocol]
    pairs = [(n, LABELS.index(label)) for n, (*_, labels) in enumerate(truth) for label in labels]
    numbers, labels = (np.array(column) for column in zip(*pairs, strict=True))
    labelled = LabelledBoxes(
        FrameBoxes(np.array([t[0] for t in truth]), np.array([t[1] for t in truth], float)),
        numbers,
        labels,
    )
    boxes = FrameBoxes(
        np.array([f[0] for f in found], int),
        np.array([f[1] for f in found], float).reshape(-1, 4),
    )
    scores = np.array([f[2] for f in found], float).reshape(-1, 2).T
    rows = shared_box_rows(LABELS, np.ascontiguousarray(scores), boxes, labelled, protocol=rules)
    return frame_map(rows, rules), boxes, labelled, rules


def errors(found: list[Scored], truth: list[True_], protocol: str = "iclip") -> pd.DataFrame:
    result, boxes, labelled, rules = judge(found, truth, protocol)
    return error_table(result, boxes, labelled, protocol=rules).set_index(["label", "kind"])


def kinds(table: pd.DataFrame, label: str) -> dict[str, int]:
    return {kind: n for kind, n in table.loc[label]["rows"].items() if n}


def test_kinds_by_hand() -> None:
    truth = [(0, BOX, "a"), (0, FAR, "b"), (1, BOX, "a")]
    found: list[Scored] = [
        (0, BOX, (0.9, 0.1)),  # a: correct; b: on a box without b
        (0, BOX, (0.8, 0.0)),  # a: the box is taken; b: wrong class
        (0, [0, 0, 10, 4], (0.7, 0.0)),  # IoU 0.4 with the a: localisation; b: both
        (0, [20, 20, 30, 30], (0.6, 0.0)),  # nothing there, for either
        (0, [50, 0, 60, 3], (0.5, 0.0)),  # IoU 0.3 with the b: both; for b localisation
        (2, BOX, (0.4, 0.0)),  # a frame without ground truth
    ]
    table = errors(found, truth)
    assert kinds(table, "a") == {
        "correct": 1, "duplicate": 1, "localisation": 1, "background": 2, "both": 1, "missed": 1,
    }  # fmt: skip
    assert kinds(table, "b") == {
        "wrong class": 2, "both": 1, "background": 2, "localisation": 1,
    }  # fmt: skip
    # the two best rows of a (two boxes to find), the best one of b
    assert {k: n for k, n in table.loc["a"]["top"].items() if n} == {"correct": 1, "duplicate": 1}
    assert {k: n for k, n in table.loc["b"]["top"].items() if n} == {"wrong class": 1}
    assert table.loc[("", "background"), "rows"] == 4


def test_gains_by_hand() -> None:
    truth = [(0, BOX, "a"), (1, BOX, "a")]
    # Ranked for a: background, correct, localisation of frame 1's box -> AP (1/2) / 2 = 1/4.
    found: list[Scored] = [
        (0, FAR, (0.9, 0.0)), (0, BOX, (0.8, 0.0)), (1, [0, 0, 10, 4], (0.7, 0.0)),
    ]  # fmt: skip
    gain = errors(found, truth).loc["a"]["gain"]
    # Without the first: TP, FP of 2 -> 1/2. With the third moved: FP, TP, TP -> 2/3.
    assert gain["background"] == pytest.approx(1 / 2 - 1 / 4)
    assert gain["localisation"] == pytest.approx(2 / 3 - 1 / 4)
    assert gain["missed"] == gain["duplicate"] == gain["both"] == gain["wrong class"] == 0
    assert np.isnan(gain["correct"])


def test_missed_boxes_that_nothing_could_find() -> None:
    gain = errors([(0, BOX, (0.9, 0.0))], [(0, BOX, "a"), (1, BOX, "a")]).loc["a"]["gain"]
    assert gain["missed"] == pytest.approx(1 / 2)
    nothing = errors([], [(0, BOX, "a")])
    assert nothing.loc[("a", "missed"), "rows"] == 1
    assert nothing.loc[("a", "missed"), "gain"] == 0  # with no box left there is no AP to give back


def test_a_wrong_class_takes_a_free_box_of_its_true_label() -> None:
    # Rows of one class each: two say b on a's box, which no row of a finds; the better takes it.
    rules = PROTOCOLS["iclip"]
    labelled = LabelledBoxes(
        FrameBoxes(np.array([0, 1]), np.array([BOX, BOX], float)), np.arange(2), np.array([0, 1])
    )
    boxes = FrameBoxes(np.array([0, 0, 3]), np.array([BOX, BOX, BOX], float))
    scores, row_labels = np.array([0.7, 0.9, 0.8]), np.array([1, 1, 0])
    rows = own_box_rows(LABELS, scores, row_labels, boxes, labelled, protocol=rules)
    result = frame_map(rows, rules)
    table = error_table(result, boxes, labelled, protocol=rules).set_index(["label", "kind"])
    assert kinds(table, "b") == {"wrong class": 2, "missed": 1}
    # a had one row, background at 0.8, and none now comes before the relabelled 0.9: AP 0 -> 1
    assert table.loc[("a", "wrong class"), "gain"] == 1
    assert kinds(table, "a") == {"background": 1}  # its box is not missed: relabelling finds it


def test_wrong_classes_go_where_the_box_is_found_already() -> None:
    truth = [(0, BOX, "b"), (1, BOX, "a")]
    found: list[Scored] = [
        (1, BOX, (0.5, 0.8)), (0, BOX, (0.9, 0.0)), (0, [0, 0, 10, 9], (0.7, 0.0)),
    ]  # fmt: skip
    table = errors(found, truth)
    # b: 0.8 on a's box, then its own box at 0.0 -> 1/2. Without the wrong one: 1.
    assert table.loc[("b", "wrong class"), "gain"] == pytest.approx(1 / 2)
    # a: two on b's box, then its own -> 1/3. Without them: 1.
    assert table.loc[("a", "wrong class"), "gain"] == pytest.approx(2 / 3)
    assert table.loc[("", "wrong class"), "gain"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_box_with_both_labels_is_no_wrong_class_for_either() -> None:
    table = errors([(0, BOX, (0.9, 0.8)), (0, BOX, (0.7, 0.6))], [(0, BOX, "ab")])
    assert kinds(table, "a") == {"correct": 1, "duplicate": 1}
    assert kinds(table, "b") == {"correct": 1, "duplicate": 1}


def test_second_choice_of_act_is_known_as_found() -> None:
    # Both rows overlap the first box most; ACT gives the second row the second box.
    truth = [(0, BOX, "a"), (0, [2, 0, 12, 10], "a")]
    found: list[Scored] = [(0, BOX, (0.9, 0.0)), (0, [1, 0, 10, 10], (0.8, 0.0))]
    assert kinds(errors(found, truth, "act"), "a") == {"correct": 2}
    assert kinds(errors(found, truth), "a") == {"correct": 1, "duplicate": 1, "missed": 1}


def test_label_without_ground_truth_has_no_gain() -> None:
    table = errors([(0, BOX, (0.9, 0.8))], [(0, BOX, "a")])
    assert table.loc["b"]["gain"].isna().all()
    assert table.loc[("", "wrong class"), "gain"] == 0  # the mean over a alone


def test_report_files(tmp_path: Path) -> None:
    truth = [(0, BOX, "a"), (1, BOX, "a"), (2, BOX, "a"), (0, FAR, "b")]
    found: list[Scored] = [
        (0, BOX, (0.9, 0.1)), (1, FAR, (0.8, 0.0)), (1, BOX, (0.7, 0.0)), (0, FAR, (0.1, 0.9)),
    ]  # fmt: skip
    part = report_part(*judge(found, truth))
    # a: TP, FP, TP of 3: precision 1 up to recall 1/3, 2/3 up to 2/3, 0 beyond.
    curve = part.curves[part.curves["label"] == "a"].set_index("recall")["precision"]
    assert curve[0.0] == curve[0.33] == 1
    assert curve[0.34] == curve[0.66] == pytest.approx(2 / 3)
    assert curve[0.67] == curve[1.0] == 0
    assert part.classes.set_index("label").loc["a"].to_dict() == {
        "AP": pytest.approx((1 + 2 / 3) / 3), "gt_boxes": 3, "rows": 4, "found": 2,
        "recall": pytest.approx(2 / 3),
    }  # fmt: skip
    parts = {"detected/unseen/voted": part, "detected/base/voted": part}
    for name in ("one", "two"):
        write_report(tmp_path / name, parts)
    for file in ("classes.csv", "curves.csv", "errors.csv", "errors.png"):
        first, second = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert first == second
    classes = pd.read_csv(tmp_path / "one" / "classes.csv")
    assert classes["cell"].unique().tolist() == list(parts)
