"""Commands as forks of a process that has imported PyTorch: nothing else about them changes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def preloaded(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["stclip", "preloaded", "bash", "-c", script], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_output_errors_and_exit_status_are_those_of_the_command(tmp_path: Path) -> None:
    """In another folder, with an environment of its own, several in a row and side by side."""
    (tmp_path / "sub").mkdir()
    config = ROOT / "config"
    script = f"""
        stclip --help | grep -c preloaded
        cd sub; ln -s {config} config
        stclip --log here.log --threads 1 complexity --method nobody; echo "status $?"
        stclip no-such-command 2> /dev/null; echo "status $?"
        stclip complexity --method st_clip & stclip complexity --method st_clip; wait
        exit 7
    """
    done = preloaded(script, tmp_path)
    assert done.returncode == 7, done.stderr
    assert "leaked" not in done.stderr
    assert "1\n" in done.stdout
    assert "unknown method 'nobody'" in done.stderr
    assert "status 1" in done.stdout
    assert "status 2" in done.stdout
    assert done.stdout.count("total") == 2
    assert "unknown method" in (tmp_path / "sub" / "here.log").read_text()


def test_forks_write_what_a_process_of_its_own_writes(tmp_path: Path) -> None:
    script = "stclip complexity --method st_clip"
    alone = subprocess.run(
        script.split(), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    done = preloaded(f"cd {ROOT}; " + f"{script}; " * 8, tmp_path)
    assert done.stdout == alone.stdout * 8


def test_a_command_that_cannot_start_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        ["stclip", "preloaded", "no-such-program"], cwd=tmp_path, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "'no-such-program' cannot be started" in done.stderr
    without = subprocess.run(
        ["stclip", "preloaded"], env=environment(), capture_output=True, text=True
    )
    assert without.returncode == 2
    assert "give a command" in without.stderr


def test_a_process_that_is_gone_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        ["stclip", "--help"], env=environment(STCLIP_PRELOADED=str(tmp_path / "nothing")),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "STCLIP_PRELOADED names is gone" in done.stderr


@pytest.mark.parametrize("whom", ["client", "server", "all"])
def test_killing_leaves_nobody_behind(tmp_path: Path, whom: str) -> None:
    """A fork that would take minutes ends with whoever asked for it."""
    marker = tmp_path / "render"
    script = f"""
        stclip mini render --scale mini --dataset jhmdb --workers 1 --out {marker} & client=$!
        until [ -e {marker} ]; do kill -0 $client || exit 1; sleep 0.1; done
        echo $client > {tmp_path}/client; wait $client; echo "ended $?"
    """
    process = subprocess.Popen(
        ["stclip", "preloaded", "bash", "-c", script], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "client").exists() or not (tmp_path / "client").read_text():
        assert process.poll() is None, "the drawing ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if whom == "client":
        os.kill(int((tmp_path / "client").read_text()), signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
        assert "ended 137" in out
    elif whom == "server":
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
        assert "ended 1" in out
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    time.sleep(0.5)
    before = written(marker)
    time.sleep(1)
    assert written(marker) == before  # nobody draws on


def test_terminating_ends_the_command(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["stclip", "preloaded", "bash", "-c", "trap 'exit 5' TERM; touch begun; sleep 60 & wait"],
        cwd=tmp_path, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 5


def written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.parent.rglob("*") if path.is_file())
