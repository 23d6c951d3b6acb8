"""UCF101-24 and AVA: the evaluator against values of published ones, on real annotations.

Detections are made by a rule: every ground-truth box moved by up to 30% of its sides, scored 60% by
a hash and 40% by the truth for every class.
"""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.outside import OutsideResult, evaluate_rows
from stclip.evaluate.outside_truth import OutsideTruth, read_truth
from stclip.evaluate.protocol import PROTOCOLS
from stclip.evaluate.rules import Rules
from stclip.prepare.label_map import read_label_map
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores

SHARED = Path(__file__).parents[3] / "shared" / "data"
if not SHARED.is_dir():
    pytest.skip(f"needs the annotations in {SHARED}", allow_module_level=True)
AVA = SHARED / "ava"


def label_split(dataset: str, name: str) -> LabelSplit:
    return LabelSplit.read(ROOT / "splits" / dataset / "st-clip" / f"{name}.json")


def chance(prefixes: list[str], name: str) -> np.ndarray:
    """A number in 0..1 for each prefix, from the first 12 hex digits of a hash."""
    digits = [hashlib.sha256(f"{prefix}|{name}".encode()).hexdigest()[:12] for prefix in prefixes]
    return np.array([int(d, 16) for d in digits]) / 2**48


def shifts(boxes: pd.DataFrame, prefixes: list[str]) -> np.ndarray:
    """(N, 2), how far both corners move."""
    sides = (boxes[["x2", "y2"]].to_numpy() - boxes[["x1", "y1"]].to_numpy()).astype(np.float64)
    return np.stack([2 * chance(prefixes, name) - 1 for name in ("dx", "dy")], 1) * 0.3 * sides


def scored(
    boxes: pd.DataFrame, prefixes: list[str], labels: dict[str, str], true: np.ndarray
) -> pd.DataFrame:
    """Each box for each class; `labels`: hashed name -> class; `true`: (N, K), what it shows."""
    parts = []
    for k, (name, label) in enumerate(labels.items()):
        score = 0.6 * chance(prefixes, name) + 0.4 * true[:, k]
        parts.append(boxes.assign(score=score, **{"class": label}))
    return pd.concat(parts, ignore_index=True)


# ---- UCF101-24 (rule U)

UCF = {
    "1": (380_148, (0.396557, 0.411662), {
        "IceDancing": 0.439782, "FloorGymnastics": 0.382092, "SalsaSpin": 0.416605,
        "SkateBoarding": 0.371593, "SoccerJuggling": 0.419620, "VolleyballSpiking": 0.349651,
    }),
    "2": (203_724, (0.392123, 0.405582), {
        "Basketball": 0.352010, "Skiing": 0.418193, "Biking": 0.430640,
        "GolfSwing": 0.391307, "CliffDiving": 0.355789, "Diving": 0.404800,
    }),
    "3": (221_484, (0.394212, 0.410075), {
        "Fencing": 0.436737, "HorseRiding": 0.425191, "Surfing": 0.386333,
        "LongJump": 0.376178, "PoleVault": 0.406332, "BasketballDunk": 0.334501,
    }),
    "4": (218_124, (0.395014, 0.409863), {
        "RopeClimbing": 0.389915, "Skijet": 0.414374, "TennisSwing": 0.381474,
        "TrampolineJumping": 0.434900, "CricketBowling": 0.352629, "WalkingWithDog": 0.396793,
    }),
}  # fmt: skip


@cache
def ucf_truth() -> OutsideTruth:
    split = label_split("ucf101_24", "1")
    return read_truth(SHARED / "ucf101-24" / "pyannot.json.gz", split)[1]


@cache
def ucf_rows(split: str) -> tuple[list[str], pd.DataFrame]:
    labels = list(label_split("ucf101_24", split).unseen)
    boxes = ucf_truth().boxes
    boxes = boxes[boxes["class"].isin(labels)]
    keys = boxes[["class", "video", "frame", "tube"]].itertuples(index=False)
    prefixes = [f"{label}/{video}|{frame}|{tube}" for label, video, frame, tube in keys]
    moved = boxes.assign(**dict.fromkeys(BOX_COLUMNS, 0))
    moved[BOX_COLUMNS] = boxes[BOX_COLUMNS] + np.tile(np.floor(shifts(boxes, prefixes)), 2)
    true = boxes["class"].to_numpy()[:, None] == np.array(labels)
    return labels, scored(moved, prefixes, dict(zip(labels, labels, strict=True)), true)


def test_ucf_counts() -> None:
    truth = ucf_truth()
    assert len(truth.videos) == 910
    assert len(truth.boxes) == 170_580
    assert len(truth.boxes[["video", "frame"]].drop_duplicates()) == 138_527
    assert len(truth.boxes[["video", "tube"]].drop_duplicates()) == 1_315
    assert truth.boxes[["x1", "y1"]].min().min() == 0
    assert truth.boxes["x2"].max() <= 319
    assert truth.boxes["y2"].max() <= 239


@pytest.mark.parametrize(
    ("split", "unseen", "base"),
    [  # videos, annotated frames, tubes, boxes; videos, annotated frames, boxes
        ("1", (229, 44_703, 463, 63_358), (681, 93_824, 107_222)),
        ("2", (236, 30_875, 266, 33_954), (674, 107_652, 136_626)),
        ("3", (231, 31_755, 303, 36_914), (679, 106_772, 133_666)),
        ("4", (214, 31_194, 283, 36_354), (696, 107_333, 134_226)),
    ],
)
def test_ucf_split_counts(split: str, unseen: tuple[int, ...], base: tuple[int, ...]) -> None:
    labels = label_split("ucf101_24", split)

    def counts(names: tuple[str, ...]) -> tuple[int, int, int, int]:
        boxes = ucf_truth().boxes
        boxes = boxes[boxes["class"].isin(names)]
        distinct = [len(boxes[keys].drop_duplicates()) for keys in (
            ["video"], ["video", "frame"], ["video", "tube"],
        )]  # fmt: skip
        return (*distinct, len(boxes))

    assert counts(labels.unseen) == unseen
    videos, frames, _, boxes = counts(labels.base)
    assert (videos, frames, boxes) == base


def test_ucf_check_value_of_the_rule() -> None:
    _, rows = ucf_rows("2")
    first = rows[
        (rows["video"] == "v_Basketball_g01_c01")
        & (rows["frame"] == 9)
        & (rows["class"] == "Basketball")
    ].iloc[0]
    assert first[BOX_COLUMNS].tolist() == [188 - 5, 101 - 7, 235 - 5, 179 - 7]
    assert first["score"] == 0.7268771628545942


@pytest.mark.parametrize("split", UCF)
def test_ucf_values(split: str) -> None:
    labels, rows = ucf_rows(split)
    num_rows, (mean, act_mean), by_class = UCF[split]
    assert len(rows) == num_rows
    for name in ("iclip", "tf"):
        found = evaluate_rows(rows, ucf_truth(), labels, protocol=PROTOCOLS[name]).result
        assert found.ap == pytest.approx(by_class, abs=1e-6)
        assert found.mean == pytest.approx(mean, abs=1e-6)
    act = evaluate_rows(rows, ucf_truth(), labels, protocol=PROTOCOLS["act"]).result
    assert act.mean == pytest.approx(act_mean, abs=1e-6)


# ---- AVA (rule A)

AVA_SPLITS = {  # unseen mAP, classes with ground truth, base mAP, classes with ground truth
    "1": (0.454796, 15, 0.479512, 61),
    "2": (0.420840, 10, 0.482784, 66),
    "3": (0.685742, 4, 0.462906, 72),
}
AVA_SPLITS_BEST_50 = {
    "1": (0.454675, 0.475762), "2": (0.420513, 0.479341), "3": (0.685455, 0.459720),
}  # fmt: skip
AVA_SINGLE = {
    "dance": 0.469049, "jump/leap": 0.388189, "martial art": 0.462087, "chop": 0.572604,
    "extract": 0.200637, "fishing": 0.282097, "hand clap": 0.213797, "lift (a person)": 0.428936,
    "play with kids": 0.325880, "hug (a person)": 0.508602, "crawl": 0.000153,
}  # fmt: skip
UNDEFINED = {"brush teeth", "row boat", "shovel", "turn (e.g., a screwdriver)"}


def label_map(classes: int) -> dict[int, str]:
    suffix = {80: "", 60: "_for_activitynet_2019"}[classes]
    return read_label_map(AVA / f"ava_action_list_v2.2{suffix}.pbtxt")


@cache
def ava_truth(classes: int) -> OutsideTruth:
    split = label_split("ava", "1")
    return read_truth(AVA / "ava_test_v1.0.csv.gz", split, label_map(classes))[1]


@cache
def ava_rows() -> pd.DataFrame:
    truth = ava_truth(80).boxes
    persons = truth.groupby(["video", "frame", *BOX_COLUMNS], sort=False)["class"].agg(set)
    boxes = persons.reset_index()
    number = boxes.groupby(["video", "frame"]).cumcount()
    keys = zip(boxes["video"], boxes["frame"], number, strict=True)
    prefixes = [f"{video}|{second:04d}|{person}" for video, second, person in keys]
    moved = boxes[BOX_COLUMNS].to_numpy() + np.tile(shifts(boxes, prefixes), 2)
    moved = np.array([[float(f"{x:.3f}") for x in box] for box in moved.clip(0, 1)])
    labels = {str(number): label for number, label in label_map(80).items()}
    true = np.array([[label in shown for label in labels.values()] for shown in boxes["class"]])
    columns = boxes[["video", "frame"]].assign(**dict(zip(BOX_COLUMNS, moved.T, strict=True)))
    return scored(columns, prefixes, labels, true)


def evaluate(classes: int, max_rows: int | None) -> OutsideResult:
    labels = list(label_map(classes).values())
    rows = ava_rows()
    protocol = replace(PROTOCOLS["tf"], max_rows=max_rows)
    return evaluate_rows(
        rows[rows["class"].isin(labels)], ava_truth(classes), labels, protocol=protocol
    )


def mean_over(ap: dict[str, float], labels: tuple[str, ...]) -> tuple[float, int]:
    values = np.array([ap[label] for label in labels])
    return float(np.nanmean(values)), int(np.isfinite(values).sum())


def test_ava_counts_and_check_value() -> None:
    truth = ava_truth(80)
    frames = truth.boxes[["video", "frame"]].drop_duplicates()
    assert (len(truth.boxes), len(frames), len(truth.videos)) == (41_425, 10_140, 38)
    rows = ava_rows()
    assert len(rows) == 1_505_920
    first = rows[(rows["video"] == "053oq2xB3oU") & (rows["frame"] == 904)]
    first = first.groupby("class").first()
    names = label_map(80)
    assert first.loc[names[11], BOX_COLUMNS].tolist() == [0.0, 0.218, 0.671, 0.927]
    assert first.loc[names[11], "score"] == 0.4043408128980616
    assert first.loc[names[1], "score"] == 0.2281372590687482


def test_ava_80_classes_and_the_zero_shot_splits() -> None:
    evaluation = evaluate(80, None)
    ap = evaluation.result.ap
    assert evaluation.result.mean == pytest.approx(0.474634, abs=1e-6)
    assert {k: ap[k] for k in AVA_SINGLE} == pytest.approx(AVA_SINGLE, abs=1e-6)
    assert {label for label, value in ap.items() if np.isnan(value)} == UNDEFINED
    assert evaluation.counts["classes_without_truth"] == 4
    for name, (unseen, num_unseen, base, num_base) in AVA_SPLITS.items():
        split = label_split("ava", name)
        value, number = mean_over(ap, split.unseen)
        assert (value, number) == (pytest.approx(unseen, abs=1e-6), num_unseen)
        value, number = mean_over(ap, split.base)
        assert (value, number) == (pytest.approx(base, abs=1e-6), num_base)


def test_ava_best_50_rows_of_a_frame() -> None:
    result = evaluate(80, 50).result
    assert result.mean == pytest.approx(0.471600, abs=1e-6)
    for name, (unseen, base) in AVA_SPLITS_BEST_50.items():
        split = label_split("ava", name)
        assert mean_over(result.ap, split.unseen)[0] == pytest.approx(unseen, abs=1e-6)
        assert mean_over(result.ap, split.base)[0] == pytest.approx(base, abs=1e-6)


# A row of these overlaps its box by exactly one half: a hit in whole numbers, as here; published
# evaluators compute with fractions of the picture in float64, and get a little less.
HALVES = ("stand", "listen to (a person)")


def ava_kinds() -> dict[str, list[str]]:
    """Pose, object and person labels: ids 1-14, 15-63 and 64-80."""
    names = label_map(80)
    ends = {"pose": (1, 14), "object": (15, 63), "person": (64, 80)}
    return {kind: [names[n] for n in range(a, b + 1)] for kind, (a, b) in ends.items()}


def ava_run(name: str) -> tuple[dict[tuple[str, str], Scores], Boxes, KeyFrames, LabelSplit]:
    """The same as a run's tables; corners in thousandths, which float32 holds exactly."""
    rows, names = ava_rows(), list(label_map(80).values())
    number = len(rows) // len(names)
    table = rows.iloc[:number].rename(columns={"video": "clip"}).assign(detector_score=1.0)
    table[BOX_COLUMNS] = (1000 * table[BOX_COLUMNS]).round()
    likely = pd.DataFrame(rows["score"].to_numpy().reshape(len(names), number).T, columns=names)
    films = tuple(sorted(table["clip"].unique()))
    split = replace(label_split("ava", name), unseen_clips=films, base_clips=films)
    scores = {
        ("gt", group): Scores.from_parts(
            table, likely[list(split.labels(group))].to_numpy(), split.labels(group)
        )
        for group in ("unseen", "base")
    }
    keys = ["video", "frame", *BOX_COLUMNS]
    boxes = ava_truth(80).boxes.groupby(keys, sort=False)["class"].agg(list).reset_index()
    boxes = boxes.rename(columns={"video": "clip", "class": "actions"}).assign(tube=0)
    boxes[BOX_COLUMNS] = (1000 * boxes[BOX_COLUMNS]).round()
    frames = boxes[["clip", "frame"]].drop_duplicates()
    frames = frames.assign(number=frames["frame"], step_s=1.0, tested=True)
    return scores, Boxes(boxes), KeyFrames(frames), split


@pytest.mark.parametrize(("protocol", "max_rows"), [("tf", None), ("activitynet", 50)])
def test_ava_as_a_run_judged_together(protocol: str, max_rows: int | None) -> None:
    """Per class, per group of the split and per kind of labels what the rows of a file give."""
    scores, boxes, key_frames, split = ava_run("1")
    rules = Rules(
        frames=PROTOCOLS[protocol], assumptions=("independent",), together=True,
        label_groups=ava_kinds(),
    )  # fmt: skip
    metrics, *_ = evaluate_run(
        scores, ground_truth=boxes, key_frames=key_frames, split=split, rules=rules,
        num_replicates=2,
    )  # fmt: skip
    cells = {group: cell["independent"] for group, cell in metrics["gt"].items()}
    published = evaluate(80, max_rows).result.ap
    ap = {label: np.nan if v is None else v for label, v in cells["all"]["AP"].items()}
    others = [label for label in published if label not in HALVES]
    assert [ap[label] for label in others] == pytest.approx(
        [published[label] for label in others], abs=1e-6, nan_ok=True
    )
    assert [ap[label] for label in HALVES] == pytest.approx(
        [published[label] for label in HALVES], abs=5e-4
    )
    unseen, num_unseen, base, num_base = AVA_SPLITS["1"]
    every = 0.474634
    if max_rows is not None:
        (unseen, base), every = AVA_SPLITS_BEST_50["1"], 0.471600
    assert cells["unseen"]["mAP"] == pytest.approx(unseen, abs=1e-6)
    more = sum(ap[label] - published[label] for label in HALVES)  # both are base labels
    assert cells["base"]["mAP"] - more / num_base == pytest.approx(base, abs=1e-6)
    assert cells["all"]["mAP"] - more / 76 == pytest.approx(every, abs=1e-6)
    assert (cells["unseen"]["num_classes"], cells["base"]["num_classes"]) == (num_unseen, num_base)
    kinds = cells["all"]["label_groups"]
    for kind, labels in ava_kinds().items():
        mean, number = mean_over(ap, tuple(labels))
        assert kinds[kind]["mAP"] == pytest.approx(mean, abs=1e-12)
        assert (kinds[kind]["num_classes"], kinds[kind]["num_labels"]) == (number, len(labels))
    # 18,824 boxes, of which 132 have no pose
    assert cells["all"]["num_gt_boxes"] == 18_824
    assert kinds["pose"]["num_gt_boxes"] == 18_824 - 132


def test_ava_60_classes() -> None:
    assert evaluate(60, None).result.mean == pytest.approx(0.491145, abs=1e-6)
    assert evaluate(60, 50).result.mean == pytest.approx(0.488864, abs=1e-6)


def test_ava_splits_follow_the_paper() -> None:
    """18, 12 and 6 unseen classes, 12, 6 and 3 of them outside the official 60."""
    official = set(label_map(60).values())
    for name, number, outside in (("1", 18, 12), ("2", 12, 6), ("3", 6, 3)):
        split = label_split("ava", name)
        assert len(split.unseen) == number
        assert len(set(split.unseen) - official) == outside
        assert {*split.base, *split.unseen} == set(label_map(80).values())
