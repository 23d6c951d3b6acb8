"""A lock goes if whoever left it is known to be dead on this machine, and never else."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_project import copy_project, environment, unlock

from stclip.runtime import folder_lock
from stclip.runtime.folder_lock import LOCKS, NOTES, Run

HERE = Run.this()
assert HERE is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A locked project's .snakemake, without any note."""
    folder = tmp_path / ".snakemake"
    (folder / LOCKS).mkdir(parents=True)
    for kind in ("input", "output"):
        (folder / LOCKS / f"0.{kind}.lock").write_text("results/table2.csv\n")
    return folder


def note(folder: Path, run: Run, name: str = "run") -> Path:
    path = folder / NOTES / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(run)))
    return path


def is_locked(folder: Path) -> bool:
    return len(list((folder / LOCKS).glob("*.lock"))) == 2


def dead() -> Run:
    """A process of this machine that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return replace(HERE, pid=process.pid, started="1")


def test_the_lock_of_a_dead_process_goes_with_its_note(folder: Path) -> None:
    path = note(folder, dead())
    assert folder_lock.unlock(folder)
    assert not any((folder / LOCKS).iterdir())
    assert not path.exists()
    assert folder_lock.unlock(folder)  # there is none


def test_a_process_of_the_same_number_is_another(folder: Path) -> None:
    note(folder, replace(HERE, started="1"))
    assert folder_lock.unlock(folder)


def test_a_process_that_is_dead_but_not_buried_is_dead(folder: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    started = folder_lock._stat(process.pid)[1]
    note(folder, replace(HERE, pid=process.pid, started=started))
    assert not folder_lock.unlock(folder)
    process.kill()
    while folder_lock._stat(process.pid)[0] != "Z":
        time.sleep(0.01)
    assert folder_lock.unlock(folder)
    process.wait()


def test_a_restart_of_the_machine_ends_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "this", lambda: replace(HERE, machine="m"))
    note(folder, replace(HERE, machine="m", boot="before"))
    assert folder_lock.unlock(folder)


ELSEWHERE = {
    "another machine": {"host": "node7", "machine": "n", "boot": "other"},
    "one of the same name": {"machine": "n", "boot": "other"},
    "one without an id": {"machine": "", "boot": "other"},
    "another container": {"pids": "pid:[1]"},
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_run_elsewhere_is_left_alone(
    folder: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = note(folder, replace(dead(), **ELSEWHERE[where]))
    note(folder, dead(), "other")
    assert not folder_lock.unlock(folder)
    assert is_locked(folder)
    assert "may be at work in it, which cannot be seen from here" in caplog.text
    assert f"delete {path} and unlock again" in caplog.text
    path.unlink()  # as it says
    assert folder_lock.unlock(folder)


def test_a_live_run_is_left_alone_beside_a_dead_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note(folder, HERE, "live")
    note(folder, dead(), "dead")
    assert not folder_lock.unlock(folder)
    assert is_locked(folder)
    assert f"a run is at work in it, process {os.getpid()}" in caplog.text


@pytest.mark.parametrize("content", [None, "", "{}", '{"pid": 1}', "[]"])
def test_a_lock_of_nobody_known_is_left_alone(
    folder: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        path = note(folder, HERE)
        path.write_text(content)
    assert not folder_lock.unlock(folder)
    assert is_locked(folder)
    assert "snakemake --unlock" in caplog.text


def test_where_the_system_does_not_tell_nothing_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(folder, dead())
    monkeypatch.setattr(Run, "this", lambda: None)
    assert not folder_lock.unlock(folder)
    folder_lock.note_run(folder.parent / "other")
    assert not (folder.parent / "other").exists()


def test_a_note_goes_with_its_process(tmp_path: Path) -> None:
    code = "from stclip.runtime.folder_lock import *; note_run(); print(len([*Path('.snakemake')"
    code += ".rglob('*.json')]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("command", [["snakemake"], [sys.executable, "-m", "snakemake"]])
def test_make_unlock_leaves_a_run_at_work_and_frees_what_it_leaves_behind(
    tmp_path: Path, command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """However Snakemake was started; `slow` stands for any stage."""
    project = copy_project(tmp_path / 'it\'s a "clone"')
    with (project / "Snakefile").open("a") as file:
        file.write("\n\nrule slow:\n    output: 'slow'\n    shell: 'sleep 600; touch {output}'\n")
    locks = project / ".snakemake" / LOCKS
    with caplog.at_level(logging.WARNING), (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [*command, "--cores", "1", "slow"], cwd=project, env=environment(project),
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not (locks.exists() and any(locks.iterdir())):
                assert process.poll() is None, (tmp_path / "out").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            unlock(project)
            assert any(locks.iterdir())
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert any(locks.iterdir())
    unlock(project)
    assert not any(locks.iterdir())
