"""ZS-AVA from drawn films to Table 1, cut down: several persons and labels a frame."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_project import edit, make_project, snakemake

from stclip.config import load_dataset
from stclip.records import Boxes, KeyFrames, Scores

TARGETS = ["results/table1.csv", "results/table16.csv"]
CHOSEN = ["--config", "datasets=[ava]"]
DATA, RUNS = Path("data/mini/ava"), Path("runs/mini/ava/st-clip/1")
METHODS = ("clip_frame", "st_clip", "vitaclip")  # of persons and of their tracks


def _shorten(scale: dict[str, Any]) -> None:
    for method in ("st_clip", "vitaclip"):
        scale["methods"][method]["train"] |= {"iterations": 4}
    scale["miniature"]["detectors"]["tiny_films"]["steps"] = 40


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("ava"))
    edit(project / "config/scales/mini.yaml", _shorten)
    rows = [{"method": method} for method in METHODS]
    for table in ("table1", "table16"):
        edit(project / f"config/tables/{table}.yaml", lambda t: t.update(rows=rows))
    done = snakemake(project, *TARGETS, *CHOSEN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return project


def test_tables_have_their_rows_and_say_their_protocol(project: Path) -> None:
    on_detected, on_truth = (pd.read_csv(project / name, dtype=str) for name in TARGETS)
    for table in (on_detected, on_truth):
        assert table["method"].tolist() == ["CLIP (baseline)", "Vita-CLIP", "ST-CLIP"]
        assert set(table["assumption"]) == {"independent"}
        assert set(table["benchmark"]) == {"mini-zs-ava/st-clip@1"}
    assert on_truth["avg"].tolist() == on_detected["avg*"].tolist()


def test_key_frames_are_seconds_but_for_the_excluded_ones(project: Path) -> None:
    key_frames = KeyFrames.read(project / DATA / "key_frames.parquet")
    counts = key_frames.tested.groupby("clip").size()
    assert len(counts) == 4
    assert set(key_frames.tested["frame"]) == set(range(2, 10))
    assert counts.min() < counts.max() == 8  # a film has excluded seconds
    boxes = Boxes.read(project / DATA / "boxes.parquet").table
    assert boxes.groupby(["clip", "frame"]).size().max() >= 3
    assert boxes["actions"].map(len).max() >= 2


def test_training_films_lack_what_is_unseen(project: Path) -> None:
    split = json.loads((project / DATA / "splits/st-clip/1.json").read_text())
    clips = pd.read_parquet(project / DATA / "clips.parquet").set_index("clip")
    assert 0 < len(split["train_clips"]) < 6
    for clip in split["train_clips"]:
        assert not {*clips.loc[clip, "actions"]} & {*split["unseen"]}


def test_a_box_is_scored_for_all_labels_and_a_pose_shares_its_softmax(project: Path) -> None:
    run = project / RUNS / "st_clip/0"
    found = [Scores.read(run / f"scores_gt_{group}.parquet") for group in ("unseen", "base")]
    names = [label for scores in found for label in scores.labels]
    assert len({*names}) == 80
    probabilities = np.concatenate([scores.probabilities for scores in found], axis=1)
    poses = load_dataset(project / "config", "ava", scale="mini").label_groups["pose"]
    is_pose = np.isin(names, poses)
    assert is_pose.sum() == 14
    np.testing.assert_allclose(probabilities[:, is_pose].sum(1), 1, atol=1e-5)
    assert probabilities[:, ~is_pose].sum(1).max() > 1


def test_metrics_say_what_entered_each_mean(project: Path) -> None:
    metrics = json.loads((project / RUNS / "st_clip/0/metrics.json").read_text())["metrics"]
    cell = metrics["gt"]["unseen"]["independent"]
    assert 0 < cell["num_classes"] < 18  # the miniature plays some of split 1's unseen classes
    means = {name: mean["mAP"] for name, mean in cell["label_groups"].items()}
    assert means.keys() == {"pose", "object", "person"}
    assert means["person"] is None  # split 1 has no unseen one
    assert metrics["gt"]["all"]["independent"]["num_classes"] > cell["num_classes"]


def test_a_track_has_the_same_scores_in_all_its_frames(project: Path) -> None:
    scores = Scores.read(project / RUNS / "vitaclip/0/scores_gt_base.parquet")
    boxes = Boxes.read(project / DATA / "boxes.parquet").table
    tracks = boxes.groupby("clip")["tube"].nunique()
    of_clips = scores.table["clip"].to_numpy()
    for clip in np.unique(of_clips):
        own = scores.probabilities[of_clips == clip]
        assert len(np.unique(own, axis=0)) == tracks[clip] < len(own)


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    done = snakemake(project, "-n", *TARGETS, *CHOSEN)
    assert "Nothing to be done" in done.stdout + done.stderr
