"""Tracked trainings and evaluations of the tiny world, for tests of what W&B gets."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import BASE, ROOT, UNSEEN, World
from wandb_offline import OfflineRun, read_runs

from stclip.config import load_dataset
from stclip.evaluate.evaluate import evaluate_run, write_run
from stclip.evaluate.rules import rules_of
from stclip.records import BOX_COLUMNS, Scores
from stclip.runtime.provenance import provenance
from stclip.storage.files import read_json, read_json_lines
from stclip.tracking.wandb_runs import track_evaluation, track_predictions, tracked
from stclip.train.run_folder import run_hash
from stclip.train.train import train

SHORT = {"iterations": 6, "batch_frames": 2, "checkpoint_every": 2}
KEY = "k" * 40


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B writes into the folder it is called in; no setting or key of this machine counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def head_of(world: World, config: Any) -> dict[str, Any]:
    data = load_dataset(world.config, "jhmdb", scale="small")
    return provenance(config, data, scale="small", split=world.split, seed=0)


def run_training(world: World, *, method: str = "st_clip", **settings: object) -> list[dict]:
    """Train as `stclip train` does; the lines of log.jsonl."""
    config = world.method(method, **(SHORT | settings))
    with tracked("train", head_of(world, config), run=run_hash(config, world.split, 0)) as tracker:
        train(
            config,
            world.data,
            split=world.split,
            seed=0,
            out=world.folder / "run",
            track=tracker.rows,
        )
    return read_json_lines(world.folder / "run" / "log.jsonl")


def run_evaluation(world: World) -> dict[str, Any]:
    """Evaluate scores by chance as `stclip evaluate` does; the content of metrics.json."""
    config, rng = world.method("st_clip", **SHORT), np.random.default_rng(0)
    scores = {}
    for boxes in ("detected", "gt"):
        for group, labels in (("unseen", UNSEEN), ("base", BASE)):
            table = world.boxes.table
            table = table[table["clip"].isin(world.split.test_clips(group))]
            table = table[["clip", "frame", *BOX_COLUMNS]].assign(detector_score=1.0)
            chance = rng.dirichlet(np.ones(len(labels)), len(table)).astype(np.float32)
            scores[boxes, group] = Scores.from_parts(table, chance, list(labels))
    folder = world.folder / "run"
    rules = rules_of(load_dataset(world.config, "jhmdb", scale="small"), world.data.key_frames)
    found = evaluate_run(
        scores,
        ground_truth=world.boxes,
        key_frames=world.data.key_frames,
        split=world.split,
        rules=rules,
        num_replicates=20,
    )
    write_run(folder, *found, head_of(world, config))
    track_evaluation(folder, run=run_hash(config, world.split, 0))
    return read_json(folder / "metrics.json")


def run_predictions(world: World) -> Path:
    """Log a picture of predictions as `stclip predictions` does; the picture."""
    config = world.method("st_clip", **SHORT)
    folder = world.folder / "run"
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "predictions.png"), np.zeros((48, 64, 3), np.uint8))
    track_predictions(folder, head_of(world, config), run=run_hash(config, world.split, 0))
    return folder / "predictions.png"


def only_run(world: World) -> OfflineRun:
    (run,) = read_runs(world.folder / "wandb")
    return run


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Ours; those of wandb go to its own files."""
    ours = [r for r in caplog.records if r.name.startswith("stclip")]
    return [r.getMessage() for r in ours if r.levelno >= logging.WARNING]


def go_online(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more
