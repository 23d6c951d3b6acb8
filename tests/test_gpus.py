"""Jobs side by side get different GPUs, whatever happens to their neighbours."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from conftest import ROOT
from forks import LIGHTLY_PRELOADED

from stclip.errors import ConfigError
from stclip.runtime.gpus import VISIBLE, take, visible_gpus

BIN = Path(sys.executable).parent
SHOW = ["bash", "-c", f'echo "${VISIBLE}"; exec sleep "$0"']


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three GPUs whose names nobody else uses."""
    names = [f"GPU-{uuid.uuid4()}" for _ in range(3)]
    monkeypatch.setenv(VISIBLE, ",".join(names))
    return names


def start(count: int, *command: str) -> subprocess.Popen[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["stclip", "gpus", str(count), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip


def seen(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().strip().split(",")


def test_jobs_side_by_side_get_different_gpus_and_wait_for_more(gpus: list[str]) -> None:
    first, second = start(2, *SHOW, "60"), start(1, *SHOW, "60")
    assert sorted(seen(first) + seen(second)) == sorted(gpus)
    third = start(1, *SHOW, "0")
    assert third.stderr is not None
    assert "waiting, 0 of 3 free, 1 wanted" in third.stderr.readline()
    assert third.poll() is None
    first.kill()  # -9: nothing is tidied up
    (got,) = seen(third)
    assert third.wait(20) == 0
    second.kill()
    first.wait()
    second.wait()
    assert got in gpus


def test_a_gpu_stays_taken_while_anything_of_the_job_lives(gpus: list[str]) -> None:
    """The command that took them may have become another one meanwhile."""
    holder = start(3, "bash", "-c", "exec bash -c 'echo; exec sleep 60'")
    seen(holder)
    waiting = start(1, "true")
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    time.sleep(2)
    assert waiting.poll() is None
    holder.terminate()
    assert holder.wait(20) == -signal.SIGTERM
    assert waiting.wait(20) == 0


def test_arguments_signals_and_exit_status_are_the_command_s(gpus: list[str]) -> None:
    done = start(1, "bash", "-c", 'echo "$@"; exit 7', "bash", "--", "--log", "a b")
    said, _ = done.communicate(timeout=20)
    assert (said, done.returncode) == ("-- --log a b\n", 7)


def test_more_than_there_are_is_an_error(gpus: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"4 GPUs wanted, this machine shows 3"):
        take(4, gpus)
    done = start(4, "true")
    _, said = done.communicate(timeout=20)
    assert done.returncode == 1
    assert "lower `gpu` under `resources` of the scale" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("named", "expected"),
    [("0,1", ["0", "1"]), (" 2 ,5", ["2", "5"]), ("", []), ("-1", []), ("3,-1,4", ["3"])],
)
def test_named_gpus(monkeypatch: pytest.MonkeyPatch, named: str, expected: list[str]) -> None:
    monkeypatch.setenv(VISIBLE, named)
    assert visible_gpus() == expected


def test_gpus_that_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = "GPU 0: A (UUID: GPU-a)\\n  MIG 1g (UUID: MIG-b)\\nGPU 1: A (UUID: GPU-c)\\n"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    program.chmod(0o755)
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert visible_gpus() == ["0", "1"]


def test_a_machine_without_gpus_runs_the_command_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    done = start(2, "bash", "-c", f'echo "[${VISIBLE}]"')
    assert done.communicate(timeout=20)[0] == "[]\n"


def test_a_command_that_cannot_start_is_told(gpus: list[str]) -> None:
    done = start(1, "no-such-program")
    _, said = done.communicate(timeout=20)
    assert done.returncode == 1
    assert "'no-such-program' cannot be started" in said


def test_forks_get_different_gpus_too(gpus: list[str], tmp_path: Path) -> None:
    """Of `stclip preloaded`; what they become still holds theirs."""
    script = f"""
        stclip gpus 2 bash -c 'echo ${VISIBLE}; touch one; until [ -e two ]; do sleep .1; done' &
        until [ -e one ]; do sleep .1; done
        stclip gpus 1 bash -c 'echo ${VISIBLE}'
        touch two; wait
    """
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*LIGHTLY_PRELOADED, "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    assert sorted(done.stdout.replace("\n", ",").split(",")) == ["", *sorted(gpus)], done.stderr


def test_the_process_that_forks_leaves_cuda_alone() -> None:
    """CUDA reads what is visible once, when it is first asked: that must be in the fork."""
    script = """
        import importlib, torch
        from stclip.cli import PRELOADED
        def asked(*_): raise AssertionError("CUDA was asked while importing")
        torch._C._cuda_getDeviceCount = torch._C._cuda_init = asked
        for name in PRELOADED: importlib.import_module(name)
        try: torch.cuda.is_available()
        except AssertionError: print("the trap works")
    """
    lines = "\n".join(line.strip() for line in script.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "the trap works\n", done.stderr
