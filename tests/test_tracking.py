"""Runs on W&B: what is written offline is what the files say; nothing about it can end a run."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import BASE, ROOT, UNSEEN, World
from wandb_offline import OfflineRun, read_runs
from wandb_server import serve

import stclip.method
import stclip.train
from stclip import tracking
from stclip.cost_table import numbers_of_cost
from stclip.costs import Cost
from stclip.dashboard import build_dashboard, specification
from stclip.errors import ConfigError
from stclip.evaluate.run import evaluate_run, write_run
from stclip.files import read_json, read_json_lines
from stclip.provenance import provenance
from stclip.records import BOX_COLUMNS, Scores
from stclip.runs import run_hash
from stclip.sync import plan_sync, sync
from stclip.tracking import numbers_of, track_evaluation, tracked
from stclip.train import train

SHORT = {"iterations": 6, "batch_frames": 2, "checkpoint_every": 2}
KEY = "k" * 40


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B writes into the folder it is called in; no setting or key of this machine counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def head_of(world: World, config: Any) -> dict[str, Any]:
    return provenance(config, dataset="jhmdb", scale="small", split=world.split, seed=0)


def run_training(world: World, *, method: str = "st_clip", **settings: object) -> list[dict]:
    """Train as `stclip train` does; the lines of log.jsonl."""
    config = world.method(method, **(SHORT | settings))
    with tracked("train", head_of(world, config), run=run_hash(config, world.split, 0)) as tracker:
        train(
            config,
            split=world.split,
            clips=world.clips,
            ground_truth=world.boxes,
            frames=world.frames,
            objects=world.objects,
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
    found = evaluate_run(scores, ground_truth=world.boxes, split=world.split, num_replicates=20)
    write_run(folder, *found, head_of(world, config) | {"protocol": "iclip"})
    cv2.imwrite(str(folder / "predictions.png"), np.zeros((48, 64, 3), np.uint8))
    track_evaluation(folder, run=run_hash(config, world.split, 0))
    return read_json(folder / "metrics.json")


def only_run(world: World) -> OfflineRun:
    (run,) = read_runs(world.folder / "wandb")
    return run


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Ours; those of wandb go to its own files."""
    ours = [r for r in caplog.records if r.name.startswith("stclip")]
    return [r.getMessage() for r in ours if r.levelno >= logging.WARNING]


def test_a_training_s_history_is_its_log(world: World) -> None:
    log = run_training(world)
    run = only_run(world)
    assert run.history == log
    assert run.steps == [line["step"] for line in log] == list(range(6))
    assert run.summary == log[-1]
    assert all(line["samples_per_s"] > 0 for line in log)
    assert run.finished
    assert run.exit_code == 0


def test_runs_are_named_and_grouped_by_convention(world: World) -> None:
    run_training(world)
    run, head = only_run(world), head_of(world, world.method("st_clip", **SHORT))
    assert (run.about["project"], run.about["group"], run.about["job"]) == (
        "stclip-small", "st_clip", "train",
    )  # fmt: skip
    assert run.about["name"] == "st_clip jhmdb 1 seed 0"
    assert sorted(run.about["tags"]) == sorted(["small", "jhmdb", "split 1", "st_clip", "seed 0"])
    assert {k: v for k, v in run.config.items() if k != "_wandb"} == head
    assert len(run.config["split_sha256"]) == 64
    assert socket.gethostname() not in run.about["host"]


def test_an_interrupted_training_goes_on_in_the_same_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_loss, calls = stclip.method.classification_loss, 0

    def killed(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:  # three steps done, a checkpoint stands at step 2
            raise KeyboardInterrupt
        return true_loss(*args, **kwargs)

    monkeypatch.setattr(stclip.method, "classification_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(world)
    log = run_training(world)
    first, second = read_runs(world.folder / "wandb")
    assert first.about["id"] == second.about["id"]
    assert not first.finished
    assert first.steps == [0, 1, 2]
    assert second.finished
    assert second.history == log  # whole, the steps before the checkpoint too
    assert first.history[:2] == log[:2]


def test_other_settings_or_work_are_another_run(world: World) -> None:
    run_training(world)
    run_training(world, lr=0.5)
    run_evaluation(world)
    assert len({run.about["id"] for run in read_runs(world.folder / "wandb")}) == 3


def test_an_evaluation_s_summary_is_its_metrics(world: World) -> None:
    content = run_evaluation(world)
    run = only_run(world)
    assert run.about["job"] == "evaluate"
    cell = content["metrics"]["gt"]["base"]["voted"]
    assert run.summary["gt/base/voted/mAP"] == cell["mAP"]
    low, high = (run.summary[f"gt/base/voted/interval/{end}"] for end in ("low", "high"))
    assert [low, high] == cell["interval"]
    numbers = numbers_of(content["metrics"])
    assert len(numbers) > 80
    assert {k: run.summary[k] for k in numbers} == numbers
    unseen = content["metrics"]["detected"]["unseen"]
    for assumption in ("independent", "voted"):  # st_clip stands in both parts of Table 2
        assert run.summary[f"{assumption}/split 1"] == unseen[assumption]["mAP"]
    del content["metrics"]
    assert {k: v for k, v in run.config.items() if k != "_wandb"} == content


def test_an_evaluation_has_a_table_of_classes_and_its_pictures(world: World) -> None:
    run_evaluation(world)
    run = only_run(world)
    table = read_json(run.path / "files" / run.summary["classes.path"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    written = pd.read_csv(world.folder / "run" / "classes.csv")
    assert len(rows) == len(written)
    assert [row["AP"] for row in rows] == written["AP"].tolist()
    assert {(row["method"], row["split"], row["seed"]) for row in rows} == {("st_clip", "1", "0")}
    assert {row["assumption"] for row in rows} == {"independent", "voted"}
    for name in ("predictions", "errors"):
        logged = run.path / "files" / run.summary[f"{name}.path"]
        assert logged.read_bytes() == (world.folder / "run" / f"{name}.png").read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb-workspaces
def test_the_dashboard_s_panels_show_what_runs_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stclip.train, "peak_memory", lambda: {"peak_memory_gib": 1.5})
    run_training(world)
    content = run_evaluation(world)
    cost = Cost(
        method="st_clip", title="ST-CLIP", order=1, video_macs=10, text_macs=5, trained=3,
        iterations=6, step_s=0.1, score_s=0.2, frames_per_s=30.0,
    )  # fmt: skip
    with tracked("costs", head_of(world, world.method("st_clip", **SHORT)), run="x") as tracker:
        tracker.results(numbers_of({"costs": numbers_of_cost(cost, [content], splits=["1"])}))
    runs = read_runs(world.folder / "wandb")
    logged = {key for run in runs for key in run.summary}
    logged |= {key.removesuffix(".path") for key in logged}
    found = specification(
        build_dashboard(
            "team",
            scale="small",
            dataset="jhmdb",
            title="small",
            splits=["1"],
            unseen=UNSEEN,
        )
    )
    assert found["project"] == runs[0].about["project"]
    section = found["spec"]["section"]
    shown = {
        part["name"]: {key for panel in part["panels"] for key in keys_of(panel)}
        for part in section["panelBankConfig"]["sections"]
    }
    assert list(shown) == [
        "Methods against splits", "Unseen against base", "AP by class", "Training", "Costs",
        "Pictures",
    ]  # fmt: skip
    assert all(shown.values())
    for keys in shown.values():
        assert keys <= logged
    assert {"loss", "lr", "samples_per_s", "peak_memory_gib"} <= shown["Training"]
    assert {"detected/unseen/voted/AP/jump", "classes"} <= shown["AP by class"]
    (runset,) = section["runSets"]
    assert [part["name"] for part in runset["grouping"]] == ["group"]
    assert "jhmdb" in str(runset["filters"])
    columns = {name.removeprefix("summary:") for name in runset["runFeed"]["columnPinned"]}
    assert columns - {"run:displayName"} <= logged


def keys_of(panel: dict[str, Any]) -> set[str]:
    """What a panel shows of runs."""
    config = panel["config"]
    keys = set(config.get("metrics", [])) | set(config.get("mediaKeys", []))
    keys |= {config[axis].removeprefix("summary:") for axis in ("xAxis", "yAxis") if axis in config}
    if "panel2Config" in config:  # of a joined table: runs.summary[name]
        pick = config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]
        keys.add(pick)
    return keys - {"_step"}


def test_disabled_writes_nothing_and_loads_nothing(world: World) -> None:
    code = (
        "import sys; from stclip.tracking import tracked\n"
        "with tracked('train', {k: k for k in 'scale dataset split method seed'.split()}, run='x')"
        " as t: t.rows([{'step': 0, 'loss': 1.0}])\n"
        "sys.exit('wandb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(WANDB_MODE="disabled"))
    assert done.returncode == 0
    assert not (world.folder / "wandb").exists()


def test_an_unknown_mode_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with (
        pytest.raises(ConfigError, match=r"WANDB_MODE is 'onlin'.*offline"),
        tracked("", {}, run=""),
    ):
        raise AssertionError("the work began")


@pytest.mark.parametrize(
    ("key", "server", "reason"),
    [("", "refuses", "no API key"), (KEY, "refuses", "refused"), (KEY, "is silent", "timed out"),
     ("short", "refuses", "invalid")],
)  # fmt: skip
def test_without_key_or_network_a_run_is_offline_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    key: str, server: str, reason: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(tracking, "REACH_S", 1)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if server == "is silent":
            listener.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        log = run_training(world)
        assert time.monotonic() - began < 20
    assert only_run(world).history == log
    (warning,) = warnings(caplog)
    assert reason in warning
    assert "offline for now" in warning
    assert key not in warning or not key


def test_a_key_that_the_server_refuses_leaves_runs_offline(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as server:
        go_online(monkeypatch, server.url)
        server.refuses = True
        log = run_training(world)
    run = only_run(world)
    assert run.history == log
    (warning,) = warnings(caplog)
    assert "offline for now" in warning


def test_online_the_server_gets_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        go_online(monkeypatch, server.url)
        log = run_training(world)
        (lines,) = server.history.values()
        (run,) = server.history
        assert server.rows(run) == log
        assert not any(socket.gethostname() in body for _, body in server.requests)
        server.history[run] = {step: lines[step] for step in range(3)}  # as after a kill
        config = world.method("st_clip", **SHORT)
        trained = run_hash(config, world.split, 0)
        with tracked("train", head_of(world, config), run=trained) as tracker:
            tracker.rows([row | {"loss": 9.0} for row in log[:4]])  # of the checkpoint
            tracker.rows(log[4:5])
        (same,) = server.history
        assert same == run
        assert [row["loss"] for row in server.rows(run)] == [
            *(row["loss"] for row in log[:3]), 9.0, log[4]["loss"],
        ]  # fmt: skip


def test_a_server_that_stops_answering_ends_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What did not arrive waits for `stclip sync`."""
    with serve() as server:
        go_online(monkeypatch, server.url)
        monkeypatch.setattr(tracking, "FINISH_S", 2)
        server.broken = {"history"}
        began = time.monotonic()
        log = run_training(world)
        assert time.monotonic() - began < 30
        assert any("stclip sync" in warning for warning in warnings(caplog))
        assert not any(server.history.values())
        server.broken.clear()
        sync(world.folder / "wandb")
        (run,) = server.history
        assert server.rows(run) == log


def test_wandb_s_death_is_one_warning_and_the_training_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    true_loss, calls = stclip.method.classification_loss, 0

    def killing(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            for pid in wandb_processes(world.folder):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        return true_loss(*args, **kwargs)

    monkeypatch.setattr(stclip.method, "classification_loss", killing)
    log = run_training(world)
    assert len(log) == 6
    assert len([w for w in warnings(caplog) if "W&B" in w]) == 1
    assert not only_run(world).finished


def test_a_failed_run_is_not_marked_as_finished(world: World) -> None:
    with pytest.raises(stclip.train.TrainingError):
        run_training(world, lr=1e18, warmup_iterations=0)
    assert not only_run(world).finished


@pytest.mark.parametrize("way", ["alone", "preloaded"])
def test_nothing_of_wandb_outlives_a_command(world: World, way: str) -> None:
    """Its pipes close too, or this would wait; a fork ends without tidying up."""
    command = [*training_command(world), "--out", str(world.folder / "run")]
    if way == "preloaded":
        command = ["stclip", "preloaded", *command]
    done = subprocess.run(
        command, cwd=world.folder, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert wandb_processes(world.folder) == []
    assert "wandb:" not in done.stdout + done.stderr
    run = only_run(world)
    assert run.finished
    assert run.history == read_json_lines(world.folder / "run" / "log.jsonl")


def test_a_killed_command_leaves_an_unfinished_run(world: World) -> None:
    command = [*training_command(world, iterations=2000), "--out", str(world.folder / "run")]
    process = subprocess.Popen(command, cwd=world.folder, env=environment())
    deadline = time.monotonic() + 60
    while not (world.folder / "run" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while wandb_processes(world.folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert only_run(world).exit_code is None
    plan = plan_sync(world.folder / "wandb")
    assert (len(plan.upload), len(plan.unfinished)) == (0, 1)


def training_command(world: World, **settings: object) -> list[str]:
    world.method("st_clip", **(SHORT | settings))
    world.clips.write(world.folder / "clips.parquet")
    world.boxes.write(world.folder / "boxes.parquet")
    world.split.write(world.folder / "split.json")
    return [
        "stclip", "train", "--method", "st_clip", "--dataset", "jhmdb", "--scale", "small",
        "--split", "split.json", "--clips", "clips.parquet", "--boxes", "boxes.parquet",
        "--frames", "frames", "--seed", "0", "--config", "config",
    ]  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def go_online(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)


def wandb_processes(folder: Path) -> list[int]:
    """Those of wandb that work in this folder and are not dead already."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            if b"wandb-core" in name and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except OSError:  # it ended meanwhile
            continue
    return found
