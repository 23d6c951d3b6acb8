"""No key, no server, a dead process, a kill: nothing about W&B ends a run or outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import World
from forks import of_forks
from tracked_runs import (  # noqa: F401  a fixture among them
    KEY,
    SHORT,
    elsewhere,
    environment,
    go_online,
    head_of,
    only_run,
    run_training,
    warnings,
)
from wandb_server import serve

import stclip.methods.contract
import stclip.train.train
from stclip.errors import ConfigError
from stclip.storage.files import read_json_lines
from stclip.tracking import wandb_runs as tracking
from stclip.tracking.sync import plan_sync, sync
from stclip.tracking.wandb_runs import tracked
from stclip.train.run_folder import run_hash

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_disabled_writes_nothing_and_loads_nothing(world: World) -> None:
    code = (
        "import sys; from stclip.tracking.wandb_runs import tracked\n"
        "names = 'scale dataset family split method seed'.split()\n"
        "with tracked('train', {k: k for k in names}, run='x')"
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
    ids=["no key", "no server", "silent server", "no such key"],
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
    true_loss, calls = stclip.methods.contract.classification_loss, 0

    def killing(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            for pid in wandb_processes(world.folder):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        return true_loss(*args, **kwargs)

    monkeypatch.setattr(stclip.methods.contract, "classification_loss", killing)
    log = run_training(world)
    assert len(log) == 6
    assert len([w for w in warnings(caplog) if "W&B" in w]) == 1
    assert not only_run(world).finished


def test_a_failed_run_is_not_marked_as_finished(world: World) -> None:
    with pytest.raises(stclip.train.train.TrainingError):
        run_training(world, lr=1e18, warmup_iterations=0)
    assert not only_run(world).finished


@pytest.mark.parametrize("way", ["alone", "preloaded"])
def test_nothing_of_wandb_outlives_a_command(world: World, way: str) -> None:
    """Its pipes close too, or this would wait; a fork ends without tidying up."""
    command = [*training_command(world), "--out", str(world.folder / "run")]
    env = {"alone": environment, "preloaded": of_forks}[way]()
    done = subprocess.run(
        command, cwd=world.folder, env=env, capture_output=True, text=True, timeout=120
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
    world.data.key_frames.write(world.folder / "key_frames.parquet")
    world.split.write(world.folder / "split.json")
    return [
        "stclip", "train", "--method", "st_clip", "--dataset", "jhmdb", "--scale", "small",
        "--split", "split.json", "--clips", "clips.parquet", "--boxes", "boxes.parquet",
        "--key-frames", "key_frames.parquet", "--frames", "frames", "--seed", "0",
        "--config", "config",
    ]  # fmt: skip


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
