"""Training in several processes, and trainings that are killed: always the same numbers."""

import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pandas as pd
import psutil
import pytest
import torch
import yaml
from conftest import World
from forks import of_forks, plain
from safetensors.torch import load_file
from small_project import TABLE, edit, make_project, snakemake
from torch import Tensor, nn
from torch.nn import functional as F

import stclip.methods.contract
import stclip.train.train
from stclip.config import MethodConfig
from stclip.errors import ConfigError, TrainingError
from stclip.inputs.batch import Batch, Inputs, pixels_of
from stclip.methods.clip.backbone import Backbone
from stclip.methods.contract import Method
from stclip.records import Boxes
from stclip.runtime.device import random_state
from stclip.train.processes import restore_random_states

# Children come from a process that has imported everything and computed nothing.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["stclip.train.train", "stclip.methods.st_clip.st_clip"])
SETTINGS = {
    "iterations": 8, "batch_frames": 3, "lr": 0.01, "warmup_iterations": 2, "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture
def crowd(world: World) -> World:
    """The small world with one, two or three persons in a frame."""
    table = world.boxes.table
    more = [table]
    for person in (1, 2):
        extra = table[table["frame"] % 3 >= person].copy()
        extra[["x1", "x2"]] += 8 * person
        more.append(extra.assign(tube=person))
    boxes = pd.concat(more).sort_values(["clip", "frame", "tube"], ignore_index=True)
    return replace(world, boxes=Boxes(boxes))


def train(world: World, config: MethodConfig, out: str) -> None:
    torch.set_num_threads(1)
    stclip.train.train.train(config, world.data, split=world.split, seed=3, out=world.folder / out)


def weights(world: World, out: str) -> dict[str, Tensor]:
    return load_file(world.folder / out / "weights.safetensors")


def losses(world: World, out: str) -> list[float]:
    lines = [json.loads(t) for t in (world.folder / out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


# Kills of one process


def train_until(
    world: World, config: MethodConfig, out: str, place: tuple[str, str, int] | None, noise: float
) -> None:
    """Train with random noise on the logits; kill -9 at the n-th call of some function."""
    true_loss = stclip.methods.contract.classification_loss

    def noisy_loss(logits: Tensor, *args: object, **kwargs: object) -> Tensor:
        return true_loss(F.dropout(logits, noise), *args, **kwargs)

    stclip.methods.contract.classification_loss = noisy_loss
    if place is not None:
        owner, name, last_call = pkgutil.resolve_name(place[0]), *place[1:]
        function, calls = getattr(owner, name), 0

        def deadly(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == last_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        setattr(owner, name, deadly)
    train(world, config, out)


def exit_code(
    world: World, config: MethodConfig, out: str, place: tuple[str, str, int] | None = None,
    *, noise: float = 0.2,
) -> int | None:  # fmt: skip
    process = CHILDREN.Process(target=train_until, args=(world, config, out, place, noise))
    process.start()
    process.join()
    return process.exitcode


def test_kills_at_any_moment_end_with_the_same_weights(crowd: World) -> None:
    config = crowd.method("st_clip", **SETTINGS)
    assert exit_code(crowd, config, "whole") == 0
    checkpoint = crowd.folder / "cut" / "checkpoint.pt"
    for place, saved in (
        (("stclip.methods.contract", "classification_loss", 1), 0),  # in the first step
        (("stclip.methods.contract", "classification_loss", 4), 2),  # between two checkpoints
        (("stclip.train.train", "learning_rate", 3), 4),  # right after a checkpoint
        (("pathlib:Path", "replace", 1), 4),  # while step 6 is being written
        (("stclip.train.train", "write_run", 1), 6),  # after the last step
    ):
        assert exit_code(crowd, config, "cut", place) == -signal.SIGKILL, place
        step = torch.load(checkpoint)["step"] if checkpoint.exists() else 0
        assert step == saved, place
    assert exit_code(crowd, config, "cut") == 0
    assert losses(crowd, "cut") == losses(crowd, "whole")
    whole, cut = weights(crowd, "whole"), weights(crowd, "cut")
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert not checkpoint.exists()


def test_random_states_that_no_checkpoint_has_are_seeded_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    torch.manual_seed(0)
    saved = [random_state()]
    drawn = []
    for index in (0, 1, 1, 2):
        torch.rand(5)
        process = SimpleNamespace(process_index=index, num_processes=3)
        restore_random_states(saved, process, seed=0, step=4)
        drawn.append(torch.rand(1).item())
    torch.manual_seed(0)
    assert drawn[0] == torch.rand(1).item()
    assert drawn[1] == drawn[2]
    assert len(set(drawn)) == 3
    assert "resumed by 3 processes, saved by 1" in caplog.text


# Several processes, without torchrun's slow start


def train_as(
    rank: int, count: int, port: int, world: World, config: MethodConfig, out: str
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    train(world, config, out)


def train_together(count: int, *arguments: object) -> list[BaseException | None]:
    """Train in `count` processes; what each of them raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(count, mp_context=CHILDREN) as pool:
        tries = [pool.submit(train_as, rank, count, port, *arguments) for rank in range(count)]
        return [t.exception() for t in tries]


def test_a_checkpoint_of_one_process_is_resumed_by_two(crowd: World) -> None:
    config = crowd.method("st_clip", **SETTINGS)
    train(crowd, config, "one")
    place = ("stclip.train.train", "learning_rate", 6)
    assert exit_code(crowd, config, "two", place, noise=0.0) == -signal.SIGKILL
    assert train_together(2, crowd, config, "two") == [None, None]
    assert losses(crowd, "two") == pytest.approx(losses(crowd, "one"), abs=1e-5)


def test_a_loss_that_is_not_finite_stops_all_and_names_the_whole_batch(crowd: World) -> None:
    settings = SETTINGS | {"lr": 1e18, "warmup_iterations": 0, "batch_frames": 12}
    errors = train_together(2, crowd, crowd.method("st_clip", **settings), "two")
    assert [type(e) for e in errors] == [TrainingError, TrainingError]
    assert str(errors[0]) == str(errors[1])
    assert "['clip_0', 'clip_1', 'clip_2']" in str(errors[0])
    assert not (crowd.folder / "two" / "weights.safetensors").exists()


def test_more_processes_than_samples_are_refused(crowd: World) -> None:
    errors = train_together(
        2, crowd, crowd.method("st_clip", **(SETTINGS | {"batch_frames": 1})), "two"
    )
    assert [type(e) for e in errors] == [ConfigError, ConfigError]
    assert "2 processes cannot share batches of 1 samples; start at most 1" in str(errors[0])


class Sometimes(Method):
    """Uses one layer always, one only for persons on the right, and one never."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        unit: Literal["person", "clip"]

    def __init__(self, backbone: Backbone, config: Config) -> None:
        super().__init__(backbone, config)
        self.inputs = Inputs(unit=config.unit)
        width = backbone.embed_dim
        self.always, self.rare, self.never = (nn.Linear(width, width) for _ in range(3))

    def logits(self, batch: Batch, text: Tensor) -> Tensor:
        images = self.backbone.patches(pixels_of(batch.pictures)[batch.frames[:, 0]])
        seen = self.backbone.project(self.backbone.encode(images))
        if self.inputs.unit == "clip":
            return self.always(seen) @ text.T
        seen = seen[batch.box_sample]
        out = self.always(seen)
        right = batch.boxes[:, 0] > 20
        if right.any():
            out = out + right[:, None] * self.rare(seen)
        return out @ text.T


@pytest.mark.parametrize(("unit", "batch"), [("person", 2), ("clip", 3)])
def test_parameters_that_a_batch_does_not_use(
    crowd: World, unit: Literal["person", "clip"], batch: int
) -> None:
    method = yaml.safe_load((crowd.config / "methods" / "st_clip.yaml").read_text())
    method |= {"target": "test_processes:Sometimes", "params": {"unit": unit}}
    (crowd.config / "methods" / "sometimes.yaml").write_text(yaml.safe_dump(method))
    settings = SETTINGS | {"batch_frames": batch, "weight_decay": 0.1}
    config = crowd.method("sometimes", **settings)
    train(crowd, config, "one")
    assert train_together(2, crowd, config, "two") == [None, None]
    one, two = weights(crowd, "one"), weights(crowd, "two")
    assert losses(crowd, "two") == pytest.approx(losses(crowd, "one"), abs=1e-5)
    assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)


def test_a_loss_over_the_whole_batch_is_that_of_one_process(crowd: World) -> None:
    """ActionCLIP's, whose rows know each other; of three clips one process has two."""
    config = crowd.method("actionclip", **SETTINGS)
    train(crowd, config, "one")
    assert train_together(2, crowd, config, "two") == [None, None]
    assert losses(crowd, "two") == pytest.approx(losses(crowd, "one"), abs=1e-5)
    assert losses(crowd, "one")[-1] < losses(crowd, "one")[0]
    one, two = weights(crowd, "one"), weights(crowd, "two")
    assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)


# torchrun, as the rule calls it


def start_torchrun(world: World, out: str, *, env: dict[str, str]) -> subprocess.Popen[str]:
    data = world.data
    tables = {
        "split": world.split, "clips": data.clips, "boxes": data.boxes,
        "key-frames": data.key_frames,
    }  # fmt: skip
    files = {option: f"{option}.parquet" for option in tables}
    for option, table in tables.items():
        table.write(world.folder / files[option])
    command = ["torchrun", "--standalone", "--nproc-per-node", "2", "--no-python", "--"]
    command += ["stclip", "--log", f"logs/{out}.log", "--threads", "1", "train", "--seed", "3"]
    command += ["--method", "st_clip", "--dataset", "jhmdb", "--scale", "small", "--out", out]
    command += ["--frames", "frames", "--config", "config"]
    command += [word for option, file in files.items() for word in (f"--{option}", file)]
    return subprocess.Popen(
        command, cwd=world.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def run_torchrun(world: World, out: str) -> str:
    process = start_torchrun(world, out, env=of_forks())
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def test_two_processes_train_as_one_and_survive_kills(crowd: World) -> None:
    config = crowd.method("st_clip", **(SETTINGS | {"iterations": 40}))
    train(crowd, config, "one")
    said = run_torchrun(crowd, "two")
    assert "steps 0 to 40 on 2 x cpu" in said
    log = (crowd.folder / "logs" / "two.log").read_text()
    assert log.count("steps 0 to 40") == said.count("steps 0 to 40") == 1  # the first one speaks
    one, two = weights(crowd, "one"), weights(crowd, "two")
    assert losses(crowd, "two") == pytest.approx(losses(crowd, "one"), abs=1e-5)
    assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)

    process = start_torchrun(crowd, "cut", env=plain())
    deadline = time.monotonic() + 120
    while not (crowd.folder / "cut" / "checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = psutil.Process(process.pid).children()
    process.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=20)[1] == []  # none goes on alone
    process.communicate()
    assert not (crowd.folder / "cut" / "weights.safetensors").exists()
    assert "steps 0 to" not in run_torchrun(crowd, "cut")
    assert losses(crowd, "cut") == losses(crowd, "two")
    cut = weights(crowd, "cut")
    assert all(torch.equal(two[k], cut[k]) for k in two)


def test_a_training_of_several_gpus_goes_through_torchrun(tmp_path: Path) -> None:
    project = make_project(tmp_path)

    def on_gpus(scale: dict) -> None:  # type: ignore[type-arg]
        scale["resources"]["train"] = {"gpu": 4, "threads": 9}

    edit(project / "config" / "scales" / "mini.yaml", on_gpus)
    plan = ["-n", "-p", "--quiet", "host", "--cores", "9", TABLE, "--resources"]
    commands = {}
    for gpus in (1, 3):
        done = snakemake(project, *plan, f"gpu={gpus}")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if " train --method" in line]
        commands[gpus] = {line.split("--method ")[1].split()[0]: line for line in lines}
    assert "torchrun" not in commands[1]["st_clip"]
    assert "--threads 9 train" in commands[1]["st_clip"]
    many = commands[3]["st_clip"]  # as many GPUs as there are
    assert "torchrun --standalone --nproc-per-node 3 --no-python -- stclip --log" in many
    assert "--threads 3 train" in many
    assert "--workers 2 " in many
    assert "torchrun" not in commands[3]["clip_frame"]  # nothing to train
