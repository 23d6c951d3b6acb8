"""Labels judged together: means of both groups and of kinds of labels, and which rows count."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.errors import ConfigError, DataError
from stclip.evaluate.compare import compare_runs
from stclip.evaluate.counted_rows import counted_rows
from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.matching import FrameBoxes, falling_order
from stclip.evaluate.protocol import PROTOCOLS, Protocol
from stclip.evaluate.rules import Rules
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores
from stclip.tracking.wandb_runs import numbers_of

BOX = (0, 0, 10, 10)
SPLIT = LabelSplit(
    "toy", "drawn", "1", base=("stand", "talk"), unseen=("lie", "wave"), rule="",
    unseen_clips=("a", "b"), base_clips=("a", "b"),
)  # fmt: skip
GROUPS = {"pose": ["lie", "stand"], "other": ["talk", "wave", "eat"]}
TOGETHER = Rules(
    frames=PROTOCOLS["tf"], assumptions=("independent",), together=True, label_groups=GROUPS
)
# Nobody is in frame 1 of clip a.
TRUTH = Boxes(
    pd.DataFrame([("a", 0, *BOX), ("b", 0, *BOX)], columns=["clip", "frame", *BOX_COLUMNS]).assign(
        tube=0, actions=[["stand", "talk"], ["lie"]]
    )
)
KEY_FRAMES = KeyFrames(
    pd.DataFrame(
        [(clip, frame, frame, 1.0, True) for clip in "ab" for frame in range(2)],
        columns=list(KeyFrames.COLUMNS),
    )
)
PLACES = [("a", 0), ("b", 0), ("a", 1)]
PROBABILITIES = {
    "stand": [0.9, 0.3, 0.95], "talk": [0.8, 0.1, 0.2],
    "lie": [0.1, 0.7, 0.05], "wave": [0.2, 0.2, 0.2],
}  # fmt: skip


def scored(box: tuple[int, ...] = BOX) -> dict[tuple[str, str], Scores]:
    table = pd.DataFrame([(*p, *box) for p in PLACES], columns=["clip", "frame", *BOX_COLUMNS])
    table = table.assign(detector_score=1.0)
    return {
        ("gt", group): Scores.from_parts(
            table, np.array([PROBABILITIES[label] for label in labels]).T, labels
        )
        for group, labels in (("unseen", SPLIT.unseen), ("base", SPLIT.base))
    }


def judged(rules: Rules, **boxes: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    metrics, replicates, _ = evaluate_run(
        scored(**boxes), ground_truth=TRUTH, key_frames=KEY_FRAMES, split=SPLIT, rules=rules,
        num_replicates=30,
    )  # fmt: skip
    return metrics, replicates


def test_means_of_both_groups_and_of_kinds_of_labels_by_hand(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    metrics, replicates = judged(TOGETHER)
    # stand: the box where nobody is ranks first -> 1/2. talk, lie: found at once -> 1. wave: nobody
    # does.
    cells = {group: cell["independent"] for group, cell in metrics["gt"].items()}
    assert list(cells) == ["unseen", "base", "all"]
    assert cells["all"]["AP"] == {"lie": 1.0, "wave": None, "stand": 0.5, "talk": 1.0}
    means = {group: (cell["mAP"], cell["num_classes"]) for group, cell in cells.items()}
    assert means == {"unseen": (1.0, 1), "base": (0.75, 2), "all": (pytest.approx(5 / 6), 3)}
    assert [cells[group]["num_gt_boxes"] for group in cells] == [1, 1, 2]
    counts = ("num_labels", "num_classes", "num_gt_boxes")
    found = {
        (group, name): (mean["mAP"], *(mean[count] for count in counts))
        for group, cell in cells.items()
        for name, mean in cell["label_groups"].items()
    }
    assert found == {
        ("unseen", "pose"): (1.0, 1, 1, 1), ("unseen", "other"): (None, 1, 0, 0),
        ("base", "pose"): (0.5, 1, 1, 1), ("base", "other"): (1.0, 1, 1, 1),
        ("all", "pose"): (0.75, 2, 2, 2), ("all", "other"): (1.0, 2, 1, 1),
    }  # fmt: skip
    assert cells["unseen"]["label_groups"]["other"]["interval"] is None
    assert list(replicates) == [
        *("gt/unseen/independent", "gt/unseen/independent/pose"),
        *(f"gt/{group}/independent{part}" for group in ("base", "all") for part in PARTS),
    ]
    np.testing.assert_array_equal(
        replicates["gt/all/independent/other"], replicates["gt/base/independent/other"]
    )
    assert "gt/unseen/independent: mAP 100.00 over 1 of 2 labels, 1 ground-truth boxes" in (
        caplog.text
    )
    assert "gt/unseen/independent, other: mAP undefined over 0 of 1 labels, 0" in caplog.text
    assert "gt/all/independent: no ground truth, in no mean: ['wave']" in caplog.text
    assert "unseen/independent/label_groups/other/mAP" not in numbers_of(metrics["gt"])
    assert numbers_of(metrics["gt"])["all/independent/label_groups/pose/mAP"] == 0.75


PARTS = ("", "/pose", "/other")


def test_labels_judged_apart_have_no_mean_of_all() -> None:
    metrics, _ = judged(replace(TOGETHER, together=False, label_groups={}))
    assert list(metrics["gt"]) == ["unseen", "base"]
    assert "label_groups" not in metrics["gt"]["base"]["independent"]


def test_labels_are_judged_together_on_the_same_boxes_only() -> None:
    scores = scored() | {("gt", "base"): scored((0, 0, 9, 9))["gt", "base"]}
    with pytest.raises(DataError, match=r"3 and 3 boxes, which are not the same; labels are judg"):
        evaluate_run(scores, ground_truth=TRUTH, key_frames=KEY_FRAMES, split=SPLIT, rules=TOGETHER)


def test_frames_without_anybody_do_not_count_in_activitynets_form(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rules = replace(TOGETHER, frames=PROTOCOLS["activitynet"])
    metrics, _ = judged(rules)
    cell = metrics["gt"]["all"]["independent"]
    assert cell["AP"] == {"lie": 1.0, "wave": None, "stand": 1.0, "talk": 1.0}
    assert cell["num_rows"] == 8  # two boxes, four labels
    assert "of 12 rows (a box and a label) of unseen and base labels 8 count" in caplog.text
    # With the best row of a frame alone, of all labels: stand of clip a, lie of clip b.
    metrics, _ = judged(replace(rules, frames=replace(rules.frames, max_rows=1)))
    cells = {group: cell["independent"] for group, cell in metrics["gt"].items()}
    assert {group: cell["num_rows"] for group, cell in cells.items()} == {
        "unseen": 1, "base": 1, "all": 2,
    }  # fmt: skip
    assert cells["all"]["AP"] == {"lie": 1.0, "wave": None, "stand": 1.0, "talk": 0.0}


def test_boxes_without_area_do_not_count_in_tf() -> None:
    cells = [
        judged(replace(TOGETHER, frames=PROTOCOLS[name]), box=(5, 5, 5, 9))[0]["gt"]["all"]
        for name in ("iclip", "tf")
    ]
    assert "num_rows" not in cells[0]["independent"]
    assert cells[1]["independent"]["num_rows"] == 0
    assert cells[1]["independent"]["mAP"] == 0


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_the_best_rows_of_a_frame_are_those_of_a_plain_loop(most: int) -> None:
    rng = np.random.default_rng(most)
    frames, labels = rng.integers(0, 9, 40), 3
    scores = rng.integers(0, 6, (labels, 40)) / 5  # with ties
    corners = np.tile([0.0, 0, 5, 5], (40, 1))
    corners[7, 2] = 0.0  # no area
    protocol = Protocol(drop_degenerate=True, annotated_frames_only=True, max_rows=most)
    annotated = np.array([0, 1, 2, 3, 5, 8])
    found = counted_rows(
        lambda: scores, FrameBoxes(frames, corners), num_labels=labels, annotated=annotated,
        protocol=protocol,
    )  # fmt: skip
    expected = np.zeros((labels, 40), bool)
    for frame in annotated:
        own = [(-scores[k, n], n, k) for n in range(40) if frames[n] == frame and n != 7
               for k in range(labels)]  # fmt: skip
        for _, box, label in sorted(own)[:most]:
            expected[label, box] = True
    assert np.array_equal(found, expected)


def test_scores_are_not_asked_for_where_all_rows_count() -> None:
    def never() -> np.ndarray:
        raise AssertionError

    boxes = FrameBoxes(np.zeros(2, int), np.array([[0.0, 0, 1, 1]] * 2))
    about: dict[str, Any] = {"num_labels": 2, "annotated": np.array([0])}
    assert counted_rows(never, boxes, **about, protocol=PROTOCOLS["tf"]) is None


def test_equal_scores_rank_in_row_order() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 5, 1000) / 4, rng.random(1000), np.zeros(300), np.empty(0)):
        assert np.array_equal(falling_order(values), np.argsort(-values, kind="stable"))


def test_runs_are_compared_on_a_kind_of_labels() -> None:
    about = {"method": "m", "benchmark": "toy"}
    run = judged(TOGETHER)
    run = (about | {"metrics": run[0]}, run[1])
    found = compare_runs(run, run, boxes="gt", labels="all", label_group="pose")
    assert (found["mAP"], found["difference"]) == ([0.75, 0.75], 0.0)
    with pytest.raises(ConfigError, match=r"unknown label group of gt/all/independent 'poses'; kn"):
        compare_runs(run, run, boxes="gt", labels="all", label_group="poses")
    with pytest.raises(DataError, match="no label of group other has ground truth here"):
        compare_runs(run, run, boxes="gt", labels="unseen", label_group="other")
