"""Comparing two runs: the difference, its interval, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cli import run as command

from stclip.errors import ConfigError, DataError
from stclip.evaluate.compare import compare_runs
from stclip.evaluate.evaluate import evaluate_run, write_run
from stclip.evaluate.rules import Rules
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores

BOX = (0, 0, 10, 10)
CLIPS = [f"c{n}" for n in range(60)]
LABELS = ["sit", "wave"]
SPLIT = LabelSplit(
    "toy", "drawn", "1", base=("run",), unseen=("sit", "wave"), rule="", unseen_clips=tuple(CLIPS)
)
KEY_FRAMES = KeyFrames(
    pd.DataFrame([(c, 0, 0, 1 / 30, True) for c in CLIPS], columns=list(KeyFrames.COLUMNS))
)
ABOUT: dict[str, Any] = {
    "method": "m", "scale": "mini", "dataset": "toy", "split": "1", "split_sha256": "x",
    "benchmark": "drawn",
}  # fmt: skip
Run = tuple[dict[str, Any], pd.DataFrame]


def made(
    skill: float, *, seed: int = 0, box: tuple[int, ...] = BOX, folder: Path | None = None
) -> Run:
    """A run whose class probabilities are noise plus `skill` for the true class."""
    noise = np.random.default_rng(seed).random((len(CLIPS), 2))
    true = np.eye(2)[np.arange(len(CLIPS)) % 2]
    columns = ["clip", "frame", *BOX_COLUMNS]
    truth = pd.DataFrame([(c, 0, *BOX) for c in CLIPS], columns=columns)
    boxes = Boxes(truth.assign(tube=0, actions=[[LABELS[n % 2]] for n in range(len(CLIPS))]))
    found = pd.DataFrame([(c, 0, *box) for c in CLIPS], columns=columns).assign(detector_score=1.0)
    probabilities = noise * (1 - skill) + true * skill
    scores = {("detected", "unseen"): Scores.from_parts(found, probabilities, LABELS)}
    metrics, replicates, report = evaluate_run(
        scores, ground_truth=boxes, key_frames=KEY_FRAMES, split=SPLIT, rules=Rules()
    )
    if folder:
        write_run(folder, metrics, replicates, report, ABOUT)
    return ABOUT | {"metrics": metrics}, replicates


def test_a_clear_difference_is_significant_and_signed() -> None:
    good, poor = made(0.4), made(0.05, seed=1)
    found = compare_runs(good, poor)
    cells = [run[0]["metrics"]["detected"]["unseen"]["independent"] for run in (good, poor)]
    assert found["mAP"] == [cell["mAP"] for cell in cells]
    assert found["difference"] == pytest.approx(cells[0]["mAP"] - cells[1]["mAP"])
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high
    assert found["p_value"] < 0.05
    turned = compare_runs(poor, good)
    assert turned["difference"] == -found["difference"]
    assert turned["interval"] == [pytest.approx(-high), pytest.approx(-low)]
    assert turned["p_value"] == found["p_value"]


def test_a_run_does_not_differ_from_itself() -> None:
    one = made(0.2)
    found = compare_runs(one, one)
    assert (found["difference"], found["interval"], found["p_value"]) == (0, [0, 0], 1.0)


def test_p_values_of_equal_skill_are_not_small() -> None:
    # Ten pairs that differ in noise alone: p < 0.05 in all but a few.
    values = [compare_runs(made(0.2, seed=n), made(0.2, seed=n + 50))["p_value"] for n in range(10)]
    assert sum(p < 0.05 for p in values) <= 3
    assert all(0 < p <= 1 for p in values)


def test_pairing_makes_the_interval_narrower_than_two_independent_ones() -> None:
    one, other = made(0.2), made(0.22)
    low, high = compare_runs(one, other)["interval"]
    widths = [
        np.ptp(r[1]["detected/unseen/independent"].quantile([0.025, 0.975])) for r in (one, other)
    ]
    assert high - low < 0.5 * float(np.hypot(*widths))


@pytest.mark.parametrize(
    ("key", "value"), [("split_sha256", "y"), ("scale", "paper"), ("benchmark", "drawn@2")]
)
def test_runs_of_other_test_sets_are_refused(key: str, value: object) -> None:
    one, (about, replicates) = made(0.2), made(0.3)
    with pytest.raises(DataError, match=rf"cannot be compared: {key} is"):
        compare_runs(one, (about | {key: value}, replicates))


def test_other_boxes_labels_or_replicates_are_refused() -> None:
    one = made(0.2)
    with pytest.raises(DataError, match="they scored different boxes"):
        compare_runs(one, made(0.2, box=(0, 0, 10, 9)))
    other = json.loads(json.dumps(one[0]))
    cell = other["metrics"]["detected"]["unseen"]["independent"]
    cell["AP"] = {"sit": 1.0}
    with pytest.raises(DataError, match="they scored different labels"):
        compare_runs(one, (other, one[1]))
    with pytest.raises(DataError, match="1000 and 10 replicates"):
        compare_runs(one, (one[0], one[1].head(10)))
    with pytest.raises(ConfigError, match=r"has no gt/unseen/independent; known are detected/unse"):
        compare_runs(one, one, boxes="gt")


def test_compare_on_the_command_line(tmp_path: Path) -> None:
    made(0.4, folder=tmp_path / "good")
    made(0.05, seed=1, folder=tmp_path / "poor")
    done = command(
        "compare",
        str(tmp_path / "good"),
        str(tmp_path / "poor"),
        "--out",
        str(tmp_path / "out.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "95% interval [+" in done.stdout
    assert "p = 0.0" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["difference"] > 0
    done = command("compare", str(tmp_path / "good"), str(tmp_path / "none"))
    assert done.returncode == 1
    assert "metrics.json: no such file" in done.stderr
