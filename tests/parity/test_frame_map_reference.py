"""Frame mAP on J-HMDB's real annotations equals what the published evaluators give.

`jhmdb_frame_map.csv` holds values that the evaluators published with iCLIP (`iclip`), HIT (`hit`,
on YOWO's ground truth) and ACT (`act`) gave on the detections of `rule_j`.
"""

import gzip
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, key_frames
from rule_j import RULES, SHARED, SPLITS, chance, detections, labels, persons, truth

from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.outside import evaluate_file, evaluate_rows
from stclip.evaluate.outside_rows import DETECTION_COLUMNS
from stclip.evaluate.outside_truth import OutsideTruth, read_truth
from stclip.evaluate.protocol import PROTOCOLS
from stclip.evaluate.rules import Rules
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit, Scores

REFERENCE = pd.read_csv(Path(__file__).with_name("jhmdb_frame_map.csv"), dtype={"split": str})

# Equal scores leave the order open, and these cells' values with it: a frame's two boxes with equal
# detector scores; for act, which keeps scores in float32, also scores that differ only beyond it.
TIES = {
    ("iclip", "1", "top3_oracle", "catch"): (0.884181, 0.884226),
    ("iclip", "1", "top3_oracle", "mAP"): (0.947285, 0.947292),
    ("iclip", "2", "top3_oracle", "run"): (0.908130, 0.908140),
    ("iclip", "2", "top3_oracle", "mAP"): (0.929134, 0.929135),
    ("act", "3", "top3_oracle", "jump"): (0.678868, 0.678898),
    ("act", "3", "top3_oracle", "mAP"): (0.915117, 0.915122),
    ("act", "3", "within_oracle", "jump"): (0.685864, 0.685894),
    ("act", "3", "within_oracle", "mAP"): (0.910692, 0.910698),
    ("act", "4", "within_hash", "clap"): (0.826203, 0.826207),
}
# hit with the ground truth of JHMDB-GT instead: mAP of the four splits
HIT_ON_JHMDB_GT = {
    "top3_oracle": (0.947543, 0.929429, 0.915515, 0.966101),
    "top3_hash": (0.717895, 0.679554, 0.700609, 0.720188),
    "within_oracle": (0.954593, 0.919872, 0.911458, 0.972727),
    "within_hash": (0.793449, 0.746960, 0.740381, 0.803745),
    "gt_hash": (0.842841, 0.846466, 0.847111, 0.839478),
}


@cache
def published(name: str) -> OutsideTruth:
    split = LabelSplit.read(ROOT / "splits" / "jhmdb" / "st-clip" / "1.json")
    return read_truth(SHARED / name, split)[1]


def evaluate(
    rows: pd.DataFrame, split: str, protocol: str = "iclip", name: str = "JHMDB-GT.json.gz"
) -> dict[str, float]:
    rules = PROTOCOLS[protocol]
    result = evaluate_rows(rows, published(name), labels(split), protocol=rules).result
    return result.ap | {"mAP": result.mean}


def reference(protocol: str, split: str, column: str) -> pd.Series:
    mine = (REFERENCE["protocol"] == protocol) & (REFERENCE["split"] == split)
    return REFERENCE[mine].set_index("class")[column]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("protocol", "column", "name"),
    [
        ("iclip", "iclip", "JHMDB-GT.json.gz"),
        ("tf", "iclip", "JHMDB-GT.json.gz"),  # the two give the same numbers
        ("hit", "hit", "yowo_groundtruths_jhmdb.csv.gz"),
        ("act", "act", "JHMDB-GT.json.gz"),
    ],
)
def test_every_reference_value(
    split: str, rule: str, protocol: str, column: str, name: str
) -> None:
    measured = evaluate(detections(split, rule), split, protocol, name)
    values = reference(column, split, rule)
    assert set(values.index) == set(measured)
    for label, value in measured.items():
        low, high = TIES.get((column, split, rule, label), (values[label], values[label]))
        assert low - 1e-6 <= values[label] <= high + 1e-6
        assert low - 1e-6 <= value <= high + 1e-6, f"{label}: {value:.7f}, reference {low}..{high}"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rule", RULES)
def test_hit_on_the_other_ground_truth(split: str, rule: str) -> None:
    mean = evaluate(detections(split, rule), split, "hit")["mAP"]
    assert mean == pytest.approx(HIT_ON_JHMDB_GT[rule][int(split) - 1], abs=1e-6)


@pytest.mark.parametrize("split", SPLITS)
def test_ground_truth_boxes_with_true_classes_are_perfect(split: str) -> None:
    rows = detections(split, "gt_oracle")
    for protocol in ("iclip", "act"):
        assert set(evaluate(rows, split, protocol).values()) == {1.0}
    # YOWO lacks the 13 frames without a mask: they become false positives of clap
    padded = 0.999920 if "clap" in labels(split) else 1.0
    yowo = evaluate(rows, split, "hit", "yowo_groundtruths_jhmdb.csv.gz")["mAP"]
    assert yowo == pytest.approx(padded, abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "num_rows"),
    [
        ("top3_hash", [37_698, 35_856, 37_566, 36_528]),
        ("within_hash", [16_164, 14_682, 15_462, 16_386]),
        ("gt_hash", [15_906, 14_664, 15_540, 16_386]),
    ],
)
def test_row_counts(rule: str, num_rows: list[int]) -> None:
    assert [len(detections(split, rule)) for split in SPLITS] == num_rows


@pytest.mark.parametrize("split", SPLITS)
def test_ground_truth_counts(split: str) -> None:
    values = reference("iclip", split, "gt_boxes")
    counts = truth()["class"].value_counts()[list(labels(split))]
    assert counts.sum() == values["mAP"]
    assert counts.to_dict() == values.drop("mAP").to_dict()


def test_check_value_of_the_rule() -> None:
    assert chance("Frisbee_catch_f_cm_np1_ri_med_0", 1, 0, "clap") == 0.6676624074762181
    rows = detections("1", "top3_hash")
    row = rows[
        (rows["video"] == "Frisbee_catch_f_cm_np1_ri_med_0")
        & (rows["frame"] == 1)
        & (rows["k"] == 0)
        & (rows["class"] == "clap")
    ].iloc[0]
    assert row["score"] == pytest.approx(0.4003570058995505, abs=1e-15)
    assert row[BOX_COLUMNS].to_list() == [79, 63, 131, 220]


def _label_split(split: str) -> LabelSplit:
    everything = (SHARED / "all_label.txt").read_text("utf-8").split()
    base = tuple(name for name in everything if name not in labels(split))
    return LabelSplit("jhmdb", "st-clip", split, base=base, unseen=labels(split), rule="published")


def _records() -> tuple[Clips, Boxes]:
    """The ground truth as the prepare stage writes it, and a training clip without boxes."""
    boxes = truth().rename(columns={"video": "clip"})
    clips = boxes.groupby("clip").agg(num_frames=("frame", "max"), action=("class", "first"))
    settings = {"official_split": "test", "height": 240, "width": 320, "fps": 30, "licence": ""}
    clips = clips.reset_index().assign(**settings)
    training = clips.iloc[:1].assign(clip="a training clip", official_split="train")
    clips = pd.concat([clips, training], ignore_index=True)
    boxes = boxes.assign(frame=boxes["frame"] - 1, tube=0, actions=[[a] for a in boxes["class"]])
    return Clips(clips.assign(actions=[[a] for a in clips["action"]])), Boxes(boxes)


def _prepared(folder: Path) -> Path:
    clips, boxes = _records()
    clips.write(folder / "clips.parquet")
    boxes.write(folder / "boxes.parquet")
    return folder / "boxes.parquet"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("boxes", "rule"), [("detected", "within_hash"), ("gt", "gt_hash")])
def test_score_files_of_a_run(split: str, boxes: str, rule: str) -> None:
    # the same detections as a run's score file: probabilities and detector scores in float32
    clips = truth().loc[truth()["class"].isin(labels(split)), "video"].unique()
    resolved = replace(_label_split(split), unseen_clips=tuple(clips))
    every_clip, boxes_truth = _records()
    rows = detections(split, rule)
    first = rows[rows["class"] == labels(split)[0]]  # rows come box by box, class by class
    found = first.rename(columns={"video": "clip"}).assign(frame=first["frame"] - 1)
    matrix = rows["score"].to_numpy().reshape(len(found), -1)
    probabilities = matrix / found["detector_score"].to_numpy()[:, None]
    scores = {(boxes, "unseen"): Scores.from_parts(found, probabilities, labels(split))}
    metrics, *_ = evaluate_run(
        scores,
        ground_truth=boxes_truth,
        key_frames=key_frames(every_clip, boxes_truth),
        split=resolved,
        rules=Rules(),
    )
    cell = metrics[boxes]["unseen"]["independent"]
    values = reference("iclip", split, rule)
    assert cell["mAP"] == pytest.approx(values["mAP"], abs=1.5e-6)
    assert cell["AP"] == pytest.approx(values.drop("mAP").to_dict(), abs=5e-6)
    low, high = cell["interval"]
    assert low < cell["mAP"] < high


def test_a_csv_against_every_ground_truth_format(tmp_path: Path) -> None:
    csv = tmp_path / "detections.csv.gz"
    rows = detections("1", "top3_hash")
    rows[DETECTION_COLUMNS].to_csv(csv, index=False)
    unzipped = tmp_path / "authors.json"
    with gzip.open(SHARED / "jhmdb_test_gt_min.json.gz") as packed, unzipped.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    values = reference("iclip", "1", "top3_hash")
    for ground_truth in (SHARED / "JHMDB-GT.json.gz", unzipped, _prepared(tmp_path)):
        result = evaluate_file(
            dataset="jhmdb", split=_label_split("1"), ground_truth=ground_truth, detections=csv
        )
        assert result["mAP"] == pytest.approx(values["mAP"], abs=1e-6)
        assert result["AP"] == pytest.approx(values.drop("mAP").to_dict(), abs=1e-6)
        counts = result["counts"]
        assert (counts["rows"], counts["rows_judged"]) == (37_698, 37_698)
        assert (counts["frames"], counts["frames_without_rows"]) == (2_651, 0)
        assert (counts["test_videos"], counts["gt_boxes"], counts["classes"]) == (268, 2_651, 6)
        # the detector's coordinates reach 320 and 240, the far edge of the picture
        assert counts["boxes_outside_picture"] == 0


def test_degenerate_boxes_of_the_detector_stay_as_false_positives(tmp_path: Path) -> None:
    # The detector's file has 3 boxes with x1 == x2 (320), beyond the best 3 of their frames.
    rows = persons().rename(columns={"detector_score": "score", "true": "class"})
    csv = tmp_path / "detections.csv"
    rows[DETECTION_COLUMNS].to_csv(csv, index=False)
    empty = rows[rows["x1"] >= rows["x2"]]
    assert len(empty) == 3
    split = next(s for s in SPLITS if empty["class"].iloc[0] in labels(s))
    result = evaluate_file(
        dataset="jhmdb",
        split=_label_split(split),
        ground_truth=SHARED / "JHMDB-GT.json.gz",
        detections=csv,
    )
    assert result["counts"]["degenerate_boxes"] == empty["class"].isin(labels(split)).sum()
