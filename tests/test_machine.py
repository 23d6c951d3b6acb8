"""Machines that are set up otherwise: long or odd names of folders, no home, no git; and Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, World
from forks import BIN, LIGHTLY_PRELOADED, of_forks
from small_project import copy_project, environment
from test_tracking_failures import elsewhere, training_command  # noqa: F401  a fixture

from stclip.costs import plan
from stclip.errors import ConfigError
from stclip.mini.archive_files import drawn_in_order
from stclip.runtime import system_folders
from stclip.runtime.gpus import _hold

ODD = 'it\'s a "clone"'
NO_HOME = "/proc/nobody"  # none that anybody could make or write to


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("t" * 120)
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("elsewhere")
def test_a_training_that_reads_ahead_in_a_temporary_folder_of_a_long_name(
    world: World, long_folder: Path
) -> None:
    command = [*training_command(world, iterations=2), "--workers", "1", "--out", "run"]
    done = subprocess.run(
        command, cwd=world.folder, capture_output=True, text=True, timeout=120,
        env=of_forks(world.folder) | {"TMPDIR": str(long_folder), "HOME": NO_HOME},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (world.folder / "run" / "weights.safetensors").exists()


def test_preloaded_in_a_temporary_folder_of_a_long_name(tmp_path: Path, long_folder: Path) -> None:
    """The job's own temporary folder is that of its own environment."""
    job = "stclip gpus 0 bash -c 'echo $TMPDIR'"
    script = f"{job}; TMPDIR=x {job}"
    done = subprocess.run(
        [*LIGHTLY_PRELOADED, "bash", "-c", script], cwd=tmp_path,
        env=environment(tmp_path) | {"TMPDIR": str(long_folder), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [str(long_folder), "x"], done.stderr
    assert not list(long_folder.iterdir())


def test_a_short_name_is_kept_and_a_long_one_refused_where_there_is_no_other(
    long_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    system_folders.shorten_temporary_folder()
    assert tempfile.gettempdir() == "/tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(long_folder))
    monkeypatch.setattr(Path, "is_dir", lambda path: "/proc/" not in str(path))
    with pytest.raises(ConfigError, match=r"TMPDIR '.*ttt' has \d+ characters.*at most 70"):
        system_folders.shorten_temporary_folder()


def test_make_caches_in_the_project_where_the_home_folder_cannot_be_written_to(
    tmp_path: Path,
) -> None:
    def cache(**more: str) -> str:
        shown = environment(tmp_path) | more
        command = [
            "make",
            "--no-print-directory",
            "-f",
            str(ROOT / "Makefile"),
            "--eval",
            "show: ; @echo $$XDG_CACHE_HOME",
        ]
        done = subprocess.run(
            [*command, "show"], cwd=tmp_path, env=shown, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert cache(HOME=NO_HOME, XDG_CACHE_HOME="") == str(tmp_path / ".cache")
    assert cache(HOME=NO_HOME, XDG_CACHE_HOME=str(tmp_path / "x")) == str(tmp_path / "x")
    assert cache(HOME=str(tmp_path), XDG_CACHE_HOME="") == str(tmp_path / ".cache")
    (tmp_path / "home").mkdir()
    assert cache(HOME=str(tmp_path / "home"), XDG_CACHE_HOME="") == str(tmp_path / "home/.cache")


def test_caches_without_a_home_are_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert system_folders.cache_environment() == {}
    monkeypatch.setenv("HOME", NO_HOME)
    own = {"XDG_CACHE_HOME": str(tmp_path / ".cache")}
    assert system_folders.cache_environment() == own

    def run(command: list[str], **keywords: object) -> subprocess.CompletedProcess[str]:
        assert own.items() <= keywords["env"].items()  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(command, 1, "", "refused")

    monkeypatch.setattr(plan.subprocess, "run", run)
    with pytest.raises(ConfigError, match="refused"):
        plan.dry_run(["all"], "mini")


def test_preloaded_snakemake_without_a_home_in_a_folder_of_an_odd_name(tmp_path: Path) -> None:
    project = copy_project(tmp_path / ODD)
    done = subprocess.run(
        [*LIGHTLY_PRELOADED, "snakemake", "-n", "results/table2.csv"],
        cwd=project, env=environment(project) | {"HOME": NO_HOME}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This was a dry-run" in done.stdout + done.stderr
    assert not (project / "results").exists()


def test_jobs_find_the_stclip_of_an_environment_of_an_odd_name(tmp_path: Path) -> None:
    project, odd = copy_project(tmp_path / "project"), tmp_path / ODD
    odd.symlink_to(BIN.parent)
    with (project / "Snakefile").open("a") as file:
        file.write("\n\nrule where:\n    output: 'where'\n")
        file.write("    shell: 'command -v stclip > {output}'\n")
    done = subprocess.run(
        [odd / "bin" / "python", "-m", "snakemake", "--cores", "1", "where"], cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (project / "where").read_text().strip() == str(odd / "bin" / "stclip")


def test_make_sets_up_in_a_folder_of_an_odd_name(tmp_path: Path) -> None:
    """`uv` installs into the environment there; a stand-in notes into which."""
    project = tmp_path / ODD
    (project / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, project)
    for name in ("python", "uv"):
        program = project / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\necho {name} "$VIRTUAL_ENV" >> calls\n')
        program.chmod(0o755)
    path = os.environ["PATH"]
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"], cwd=project, capture_output=True, text=True,
        env=os.environ | {"PATH": path, "VIRTUAL_ENV": "another"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    calls = (project / "calls").read_text().splitlines()
    assert calls == ["python another", *[f"uv {project / '.venv'}"] * 2]


def test_without_git_the_way_out_of_dvc_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=lambda *_: {"cache", "tmp"})
    command = ["stclip", "pull", "--cached"]
    keywords = {"cwd": tmp_path, "env": environment(tmp_path), "capture_output": True, "text": True}
    done = subprocess.run(command, **keywords)
    assert done.returncode == 1
    assert "is not a git repository" in done.stderr  # of DVC
    assert "dvc config --local core.no_scm true" in done.stderr
    for name in ("docs/versions.md", "dvc.yaml"):  # for those who call DVC themselves
        assert "dvc config --local core.no_scm true" in (ROOT / name).read_text()
    subprocess.run(["dvc", "config", "--local", "core.no_scm", "true"], check=True, **keywords)
    assert "is not a git repository" not in subprocess.run(command, **keywords).stderr


IMPORTING = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "stclip.cli":
            print("waiting", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from stclip.__main__ import main
main()
"""
RENDER = ["stclip", "mini", "render", "--scale", "mini", "--dataset", "jhmdb", "--out", "archives"]


def _hears_ctrl_c() -> None:
    """Before a program begins: it hears Ctrl-C even if these tests run where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("command", "processes"),  # that are there when it is pressed, itself among them
    [
        ([sys.executable, "-c", IMPORTING], 1),
        ([*RENDER, "--workers", "2"], 4),  # two that draw, and one that multiprocessing keeps
        ([*LIGHTLY_PRELOADED, *RENDER, "--workers", "2"], 6),
        ([*LIGHTLY_PRELOADED, "sleep", "60"], 2),
        (["stclip", "gpus", "2", "true"], 1),  # one is held by another
    ],
    ids=["importing", "drawing", "preloaded", "preloaded sleep", "waiting for a GPU"],
)
@pytest.mark.parametrize("after_s", [0, 2])
def test_ctrl_c_prints_no_traceback(
    tmp_path: Path, command: list[str], processes: int, after_s: float
) -> None:
    """At a terminal all processes hear it."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    gpus = [f"{tmp_path.name}-{number}" for number in range(2)]
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    told = tmp_path / "told"
    with _hold(gpus[0]), told.open("wb") as out:  # type: ignore[union-attr]
        process = psutil.Popen(
            command, cwd=tmp_path, env=environment(tmp_path) | visible, stdout=out, stderr=out,
            start_new_session=True, preexec_fn=_hears_ctrl_c,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while 1 + len(process.children(recursive=True)) < processes or (
            processes == 1 and "waiting" not in told.read_text()
        ):
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(after_s)
        others = process.children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) in (130, -signal.SIGINT)
        _, left = psutil.wait_procs(others, timeout=30)
        assert not left
    assert "Traceback" not in told.read_text()
    assert "KeyboardInterrupt" not in told.read_text()


def test_ctrl_c_while_processes_that_draw_begin_is_not_lost() -> None:
    def jobs() -> Iterator[int]:  # read where the processes are started
        os.kill(os.getpid(), signal.SIGINT)
        yield 1

    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(drawn_in_order(abs, jobs(), workers=2))  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, heard)


@pytest.mark.usefixtures("elsewhere")
def test_ctrl_c_in_a_training_that_reads_ahead_prints_no_traceback(world: World) -> None:
    command = [*training_command(world, iterations=2000), "--workers", "2", "--out", "run"]
    told = world.folder / "told"
    with told.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=world.folder, env=environment(world.folder), stdout=out, stderr=out,
            start_new_session=True, preexec_fn=_hears_ctrl_c,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (world.folder / "run" / "checkpoint.pt").exists():
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert "Traceback" not in told.read_text()
