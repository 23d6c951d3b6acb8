"""`stclip doctor` as a command, and what it says of the folder."""

import ast
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import ROOT
from test_folder_lock import HERE, dead
from typer.testing import CliRunner

from stclip.cli import app
from stclip.doctor.finding import Finding, as_json, render
from stclip.doctor.folder import check_folder, check_times
from stclip.runtime.file_times import FileTime
from stclip.runtime.folder_lock import LOCKS, NOTES, SNAKEMAKE


def statuses() -> dict[str, str]:
    return {finding.check: finding.status for finding in check_folder()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_whole_scale_mini_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "doctor.json"
    done = CliRunner().invoke(app, ["doctor", "--scale", "mini", "--offline", "--json", str(out)])
    found = json.loads(out.read_text())
    assert {f["part"] for f in found} == {"machine", "downloads", "weights", "folder"}
    checks = {f["check"]: f["status"] for f in found}
    for check in ("codecs", "gpu", "python", "ava", "tiny", "tiny_32", "tiny_ava"):
        assert checks[check] == "ok"
    assert done.exit_code == ("problem" in checks.values())
    assert done.stdout.count("\n") >= len(found)


def test_a_problem_ends_with_status_1_and_a_note_does_not(folder: Path) -> None:
    part = folder / "data" / "any" / "films" / "raw" / "a.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2_000_000))
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    done = CliRunner().invoke(app, ["doctor", "--only", "folder"])
    assert (done.exit_code, "a.zip.part (2 MB)" in done.stdout) == (0, True)
    unknown = CliRunner().invoke(app, ["doctor"])  # there are no settings here
    assert (unknown.exit_code, "config.yaml" in unknown.stdout) == (1, True)
    assert CliRunner().invoke(app, ["doctor", "--only", "fodler"]).exit_code == 1


def test_a_lock_is_told_by_who_left_it(folder: Path) -> None:
    assert statuses()["lock"] == "ok"
    (SNAKEMAKE / LOCKS).mkdir(parents=True)
    (SNAKEMAKE / LOCKS / "0.input.lock").write_text("a\n")
    assert statuses()["lock"] == "note"  # nobody knows whose it is
    note = SNAKEMAKE / NOTES / "run.json"
    note.parent.mkdir()
    note.write_text(json.dumps(asdict(HERE)))
    assert statuses()["lock"] == "note"  # this process is at work
    note.write_text(json.dumps(asdict(dead())))
    (found,) = [finding for finding in check_folder() if finding.check == "lock"]
    assert (found.status, "stclip unlock" in found.to_do) == ("problem", True)
    assert (SNAKEMAKE / LOCKS / "0.input.lock").exists()  # it only looks


@pytest.mark.parametrize(
    ("now_s", "status", "word"),
    [
        ([100.0] * 6, "ok", "0 newer, 0 older"),
        ([100.0] * 5 + [200.0], "note", "changed since: f5"),
        ([200.0] * 6, "problem", "copied without times"),
        ([100.0] * 5 + [50.0], "problem", "older files"),
    ],
)
def test_times_of_files(folder: Path, now_s: list[float], status: str, word: str) -> None:
    times = [FileTime(f"f{n}", now, made_s=100.0) for n, now in enumerate(now_s)]
    (found,) = check_times(times)
    assert (found.status, word in found.found) == (status, True), found


def test_files_without_notes_are_told(folder: Path) -> None:
    assert statuses()["file times"] == "ok"
    (folder / "runs").mkdir()
    (folder / "runs" / "weights").touch()
    assert statuses()["file times"] == "note"


def test_touch_gives_back_the_times_and_looks_at_nothing_else(folder: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--touch"])
    assert (done.exit_code, list(folder.iterdir())) == (0, [])
    assert "machine" not in done.stdout


def test_a_table_says_once_what_neighbours_have_to_do() -> None:
    ok = Finding("machine", "gpu", "ok", "there")
    same = [Finding("folder", name, "problem", f"{name} is wrong", "mend it") for name in "ab"]
    lines = render([ok, *same]).splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "problem", "problem", "->", "3"]
    assert lines[-1].endswith("0 notes, 2 problems.")
    assert as_json([ok])[0]["status"] == "ok"
    with pytest.raises(AssertionError):
        Finding("machine", "gpu", "problem", "none")  # and nothing to do?


def test_the_code_names_no_scale_method_or_data_set() -> None:
    folders = [ROOT / "config" / name for name in ("scales", "methods", "datasets")]
    names = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    for path in (ROOT / "stclip" / "doctor").glob("*.py"):
        constants = (n.value for n in ast.walk(ast.parse(path.read_text())) if hasattr(n, "value"))
        assert not names & {text for text in constants if isinstance(text, str)}, path


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_the_document_shows_what_was_found(scale: str) -> None:
    content = json.loads((ROOT / "docs" / "results" / scale / "doctor.json").read_text())
    shown = render([Finding(**finding) for finding in content], width=118)
    assert shown in (ROOT / "docs" / "doctor.md").read_text()
