"""Commands as forks of a process that has imported PyTorch: nothing else about them changes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from forks import BIN, LIGHTLY_PRELOADED


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


def test_whoever_asks_for_a_fork_imports_no_command_line() -> None:
    """It is a process of every job, most of which are shorter than that import."""
    code = "import sys, stclip.__main__; print({'typer', 'yaml', 'numpy'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


def test_forks_write_what_a_process_of_its_own_writes(tmp_path: Path) -> None:
    script = "stclip complexity --method st_clip"
    alone = subprocess.run(
        script.split(), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    done = preloaded(f"cd {ROOT}; " + f"{script}; " * 8, tmp_path)
    assert done.stdout == alone.stdout * 8


def test_a_command_that_cannot_start_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LIGHTLY_PRELOADED, "no-such-program"], cwd=tmp_path, env=environment(),
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


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM", "ABRT", "XCPU"])
def test_a_job_that_a_signal_ends_says_so_as_a_plain_one(tmp_path: Path, name: str) -> None:
    """What the shell that started it says, and its status; KILL is what the kernel sends."""
    script = f"ulimit -c 0; stclip gpus 0 bash -c 'kill -{name} $$'; echo status $?"
    keywords = {"cwd": tmp_path, "env": environment(CUDA_VISIBLE_DEVICES="")}
    plain = subprocess.run(["bash", "-c", script], capture_output=True, text=True, **keywords)
    served_ = served("run()", script, tmp_path)
    assert served_.stdout == plain.stdout == f"status {128 + getattr(signal, f'SIG{name}')}\n"
    assert re.sub(r"\d+", "N", served_.stderr) == re.sub(r"\d+", "N", plain.stderr)
    assert "Traceback" not in served_.stderr


def served(run: str, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`script` below a process that preloads nothing and whose forks do `run`."""
    code = "import sys; from stclip.cli import run; from stclip.runtime import preload\n"
    code += f"def job(): {run}\n"
    code += "sys.exit(preload.serve(['bash', '-c', sys.argv[1]], run=job, modules=[]))"
    return subprocess.run(
        [sys.executable, "-c", code, script], cwd=folder, capture_output=True, text=True,
        env=environment(CUDA_VISIBLE_DEVICES=""), timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("run", "status", "words"),
    [
        ("sys.exit('no such luck')", 1, "no such luck\n"),
        ("sys.exit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_every_end_of_a_fork_is_that_of_a_process(
    tmp_path: Path, run: str, status: int, words: str
) -> None:
    done = served(run, "stclip; echo status $?", tmp_path)
    assert done.stdout == f"status {status}\n"
    assert words in done.stderr
    assert ("Traceback" in done.stderr) == (run == "1 / 0")


def test_a_machine_without_room_for_a_fork_says_so(tmp_path: Path) -> None:
    run = "pass\ndef none(): raise OSError(12, 'Cannot allocate memory')\nimport os; os.fork = none"
    done = served(run, "stclip; echo status $?; stclip; echo status $?", tmp_path)
    assert done.stdout == "status 1\nstatus 1\n"  # the server goes on
    assert done.stderr.count("error: no process can be started: [Errno 12] Cannot allocate") == 2


def test_whoever_ends_before_it_has_asked_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(
        "import os, socket\n"
        "for head in (None, 10**6, 1):\n"
        "    with socket.socket(socket.AF_UNIX) as connection:\n"
        "        connection.connect(os.environ['STCLIP_PRELOADED'])\n"
        "        if head:\n"
        "            socket.send_fds(connection, [head.to_bytes(8)], range(3))\n"
        "            connection.sendall(b'{')\n"
    )
    script = f"{sys.executable} half.py; stclip; echo status $?"
    assert served("sys.exit(4)", script, tmp_path).stdout == "status 4\n"


def test_a_server_that_is_killed_says_what_may_have_killed_it(tmp_path: Path) -> None:
    done = served("import os; os.kill(os.getppid(), 9); import time; time.sleep(60)",
                  "exec 2> told; stclip", tmp_path)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while not (tmp_path / "told").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "has ended: killed, or the machine was out of memory" in (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    "error",
    ["MemoryError()", "RuntimeError(\"DefaultCPUAllocator: can't allocate memory\")",
     "type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory')"],
)  # fmt: skip
def test_out_of_memory_is_no_bug(error: str) -> None:
    code = "import stclip.cli as cli\n"
    code += f"def app(): raise {error}\ncli.app = app\ncli.run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: out of memory (" in done.stderr
    assert "Traceback" not in done.stderr


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
        [*LIGHTLY_PRELOADED, "bash", "-c", script], cwd=ROOT, env=environment(),
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
        [*LIGHTLY_PRELOADED, "bash", "-c", "trap 'exit 5' TERM; touch begun; sleep 60 & wait"],
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
