"""One run's metrics: ground-truth selection, checks, assumptions, interval, files."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.errors import ConfigError, DataError
from stclip.evaluate.breakdown import ReportPart
from stclip.evaluate.evaluate import evaluate_run, read_run, write_run
from stclip.evaluate.rules import Rules
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores
from stclip.storage.files import read_json

BOX, FAR = (0, 0, 10, 10), (50, 0, 60, 10)
SPLIT = LabelSplit(
    "toy",
    "drawn",
    "1",
    base=("run",),
    unseen=("sit", "wave"),
    rule="test",
    unseen_clips=("s", "w"),
    base_clips=("r",),
)
UNSEEN = ["sit", "wave"]


def truth_boxes(rows: list[tuple[str, int, tuple[float, ...], list[str]]]) -> Boxes:
    table = pd.DataFrame(
        [(clip, frame, *box, 0) for clip, frame, box, _ in rows],
        columns=["clip", "frame", *BOX_COLUMNS, "tube"],
    )
    return Boxes(table.assign(actions=[actions for *_, actions in rows]))


TRUTH = truth_boxes(
    [
        ("s", 0, BOX, ["sit"]),
        ("s", 1, BOX, ["sit"]),
        ("w", 0, BOX, ["wave"]),
        ("w", 1, BOX, ["wave"]),
        ("r", 0, BOX, ["run"]),
        ("elsewhere", 0, BOX, ["sit"]),  # not a test clip of the split
    ]
)


def scored(
    rows: list[tuple[str, int, tuple[float, ...], float, list[float]]], labels: list[str]
) -> Scores:
    boxes = pd.DataFrame(
        [(clip, frame, *box, detector) for clip, frame, box, detector, _ in rows],
        columns=["clip", "frame", *BOX_COLUMNS, "detector_score"],
    )
    probabilities = np.array([p for *_, p in rows]).reshape(-1, len(labels))
    return Scores.from_parts(boxes, probabilities, labels)


DETECTED = scored(
    [
        ("s", 0, BOX, 1.0, [0.9, 0.1]),
        ("s", 1, BOX, 1.0, [0.4, 0.6]),
        ("w", 0, BOX, 1.0, [0.5, 0.5]),
    ],
    UNSEEN,
)


def evaluated(
    scores: dict[tuple[str, str], Scores],
    *,
    truth: Boxes = TRUTH,
    split: LabelSplit = SPLIT,
    every: int = 1,
    rules: Rules = Rules(),  # noqa: B008  frozen
    num_replicates: int = 1000,
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, ReportPart]]:
    """Clips of four frames at 30 fps, every n-th of which is a key frame."""
    names = sorted({*truth.table["clip"], *split.unseen_clips, *split.base_clips})
    rows = [(c, f, f // every, every / 30, True) for c in names for f in range(0, 4, every)]
    return evaluate_run(
        scores,
        ground_truth=truth,
        key_frames=KeyFrames(pd.DataFrame(rows, columns=list(KeyFrames.COLUMNS))),
        split=split,
        rules=rules,
        num_replicates=num_replicates,
    )


def test_metrics_by_hand_with_and_without_voting() -> None:
    metrics, replicates, _ = evaluated({("detected", "unseen"): DETECTED}, num_replicates=20)
    cells = metrics["detected"]["unseen"]
    # sit, ranked: s0 TP, w0 FP, s1 TP -> (1 + 2/3) / 2 = 5/6. wave: s1 FP, w0 TP, s0 FP; w1 missed
    # -> (1/2) / 2 = 1/4.
    assert cells["independent"]["AP"] == {
        "sit": pytest.approx(5 / 6),
        "wave": pytest.approx(1 / 4),
    }
    # Voted: clip s has (0.65, 0.35), clip w (0.5, 0.5). sit: TP, TP, FP -> 1. wave: TP first of
    # two -> 1/2.
    assert cells["voted"]["AP"] == {"sit": 1.0, "wave": 0.5}
    assert cells["voted"]["mAP"] == 0.75
    assert {k: v for k, v in cells["voted"].items() if k.startswith("num")} == {
        "num_classes": 2,
        "num_clips": 2,
        "num_frames": 4,
        "num_gt_boxes": 4,
        "num_boxes": 3,
        "num_frames_without_boxes": 1,
    }
    assert list(replicates) == ["detected/unseen/independent", "detected/unseen/voted"]
    assert len(replicates) == 20


def test_detector_score_multiplies_after_voting() -> None:
    rows = [("s", 0, FAR, 0.1, [1.0, 0.0]), ("s", 0, BOX, 0.9, [0.0, 1.0])]
    metrics, *_ = evaluated({("detected", "unseen"): scored(rows, UNSEEN)})
    # Voted sit is 0.5 for both boxes (the weak box votes as much); x detector score the good box
    # ranks first: TP, FP of 2. Independent: 0.1, then 0 for the good box: FP, TP.
    cells = metrics["detected"]["unseen"]
    assert cells["voted"]["AP"]["sit"] == 0.5
    assert cells["independent"]["AP"]["sit"] == 0.25


def test_only_key_frames_count() -> None:
    scores = scored([("s", 0, BOX, 1.0, [1, 0]), ("w", 0, BOX, 1.0, [0, 1])], UNSEEN)
    metrics, *_ = evaluated({("gt", "unseen"): scores}, every=2)
    assert metrics["gt"]["unseen"]["independent"]["mAP"] == 1
    assert metrics["gt"]["unseen"]["independent"]["num_gt_boxes"] == 2


def test_a_box_may_have_several_actions() -> None:
    truth = truth_boxes([("s", 0, BOX, ["sit", "wave", "run"]), ("w", 0, BOX, ["wave"])])
    scores = scored([("s", 0, BOX, 1.0, [0.9, 0.8])], UNSEEN)
    metrics, *_ = evaluated({("gt", "unseen"): scores}, truth=truth)
    cell = metrics["gt"]["unseen"]["independent"]
    assert cell["AP"] == {"sit": 1.0, "wave": 0.5}
    assert cell["num_gt_boxes"] == 2


def test_class_without_truth_is_undefined_and_counted() -> None:
    truth = truth_boxes([("s", 0, BOX, ["sit"])])
    scores = scored([("s", 0, BOX, 1.0, [0.9, 0.8])], UNSEEN)
    metrics, *_ = evaluated({("gt", "unseen"): scores}, truth=truth)
    cell = metrics["gt"]["unseen"]["independent"]
    assert (cell["AP"], cell["mAP"], cell["num_classes"]) == ({"sit": 1.0, "wave": None}, 1.0, 1)


def test_a_run_without_boxes_scores_zero() -> None:
    empty = {("detected", "unseen"): scored([], UNSEEN)}
    metrics, *_ = evaluated(empty)
    cell = metrics["detected"]["unseen"]["voted"]
    assert (cell["mAP"], cell["interval"], cell["num_frames_without_boxes"]) == (0, [0, 0], 4)


def test_interval_brackets_the_estimate_and_shared_clips_pair_the_splits() -> None:
    rng = np.random.default_rng(0)
    clips = [f"c{n}" for n in range(40)]
    truth = truth_boxes([(c, 0, BOX, [UNSEEN[n % 2]]) for n, c in enumerate(clips)])
    chance = rng.random((40, 2))
    scores = scored([(c, 0, BOX, 1.0, list(p)) for c, p in zip(clips, chance, strict=True)], UNSEEN)
    results = []
    for shuffled in (clips, clips[::-1]):
        split = replace(SPLIT, unseen_clips=tuple(shuffled))
        results.append(evaluated({("gt", "unseen"): scores}, truth=truth, split=split))
    (metrics, replicates, _), (_, others, _) = results
    cell = metrics["gt"]["unseen"]["independent"]
    low, high = cell["interval"]
    assert low < cell["mAP"] < high
    assert 0.05 < high - low < 0.5
    pd.testing.assert_frame_equal(replicates, others)
    assert len(replicates) == 1000


def test_labels_of_another_split_are_refused() -> None:
    scores = scored([("s", 0, BOX, 1.0, [1, 0])], ["wave", "sit"])
    with pytest.raises(DataError, match=r"unseen labels: label columns are \['wave', 'sit'\].*sco"):
        evaluated({("gt", "unseen"): scores})


def test_clips_outside_the_split_are_refused() -> None:
    scores = scored([("s", 0, BOX, 1, [1, 0]), ("r", 3, BOX, 1, [1, 0])], UNSEEN)
    with pytest.raises(DataError, match=r"clip 'r' frame 3 is not among the split's 2 unseen"):
        evaluated({("gt", "unseen"): scores})


def test_frames_that_are_no_key_frames_are_refused() -> None:
    with pytest.raises(DataError, match=r"clip 's' frame 1 is not a key frame"):
        evaluated({("detected", "unseen"): DETECTED}, every=2)


def test_nothing_to_evaluate_is_refused() -> None:
    nothing = truth_boxes([("elsewhere", 0, BOX, ["sit"])])
    with pytest.raises(DataError, match="no ground-truth box of"):
        evaluated({("detected", "unseen"): DETECTED}, truth=nothing)
    unresolved = LabelSplit("toy", "drawn", "1", base=("run",), unseen=("sit", "wave"), rule="")
    with pytest.raises(DataError, match="names no test clips"):
        evaluated({("detected", "unseen"): DETECTED}, split=unresolved)


def test_an_unknown_label_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown label group 'seen'"):
        evaluated({("gt", "seen"): DETECTED})


def test_files_hold_provenance_and_come_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    base = scored([("r", 0, BOX, 1.0, [1.0])], ["run"])
    scores = {("detected", "unseen"): DETECTED, ("detected", "base"): base}
    metrics, replicates, report = evaluated(scores, num_replicates=9)
    assert "scores of detected boxes, unseen labels: read 3 boxes" in caplog.text
    for name in ("a", "b"):
        write_run(tmp_path / name, metrics, replicates, report, {"method": "m", "seed": 0})
    run, back = read_run(tmp_path / "a")
    assert (run["method"], run["seed"], run["metrics"]) == ("m", 0, metrics)
    pd.testing.assert_frame_equal(back, replicates)
    # clip r is not drawn in some replicates: no class is left there, and that survives the file
    assert back["detected/base/voted"].dropna().eq(1).all()
    for file in ("metrics.json", "replicates.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    (tmp_path / "a" / "replicates.parquet").write_bytes(b"half")
    with pytest.raises(DataError, match=r"replicates\.parquet: damaged.*Delete it"):
        read_run(tmp_path / "a")
    assert list(read_json(tmp_path / "b" / "metrics.json")) == ["method", "seed", "metrics"]
