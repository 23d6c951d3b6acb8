"""What was made of something else is made again, whatever the times of files say: dry runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from small_project import DUMMY_MODULE, edit, make_project, planned, snakemake
from typer.testing import CliRunner

from stclip.cli import app

CLIP = ROOT / "stclip" / "mini" / "tiny_clip"
TABLE = "results/mini/table2.csv"
TOY = ["data/mini/toy/splits/own/a.json", "data/mini/toy/key_frames.parquet"]
BOTH = ["--config", "datasets=[jhmdb,toy]"]
DONE = {"total": 0}
FOLDER = ["doctor", "--only", "folder"]


def brought(project: Path) -> None:
    """Weights, a model config, a detector and a module that a person put there."""
    (project / "own").mkdir()
    shutil.copy(CLIP / "tiny-clip.json", project / "own/clip.json")
    shutil.copy(CLIP / "weights.safetensors", project / "own/clip.safetensors")
    (project / "own/detector.safetensors").write_bytes(b"any: nothing is computed")
    (project / "dummy_parts.py").write_text("FACTOR = 100\n")
    (project / "dummy_method.py").write_text("import dummy_parts\n" + DUMMY_MODULE)

    def use(scale: dict) -> None:  # type: ignore[type-arg]
        clip = {"model": "own/clip.json", "weights": "own/clip.safetensors"}
        scale["backbones"]["tiny"] = clip
        scale["detectors"]["tiny"]["weights"] = "own/detector.safetensors"

    edit(project / "config/scales/mini.yaml", use)
    edit(project / "config/config.yaml", lambda c: c.update(methods=["dummy", "clip_frame"]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as after a run, whose files are empty: Snakemake has its notes on all of them."""
    project = make_project(tmp_path_factory.mktemp("project"))
    brought(project)
    listed = snakemake(project, "--summary", TABLE, *TOY, *BOTH)
    assert listed.returncode == 0, listed.stderr
    for line in listed.stdout.splitlines()[1:]:
        path = project / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name == "frames" else path.touch()
    done = snakemake(project, "--touch", "--forceall", TABLE, *TOY, *BOTH)
    assert done.returncode == 0, done.stderr
    return project


def plan(project: Path) -> dict[str, int]:
    done = snakemake(project, "-n", TABLE, *TOY, *BOTH)
    if "Nothing to be done" in done.stdout + done.stderr:
        return DONE
    return planned(done)


@pytest.fixture
def project(made: Path) -> Iterator[Path]:
    """The project without the edits of an earlier test; times are kept."""
    kept = made.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(made, kept)
    yield made
    shutil.rmtree(made)
    kept.rename(made)


def replace_by_older(path: Path, content: str) -> None:
    """As `cp -p`, `rsync -a`, `mv` and `unzip` do."""
    older = path.with_name("older")
    older.write_text(content)
    os.utime(older, (10**9, 10**9))
    older.rename(path)


CLIP_OF = {"train": 2, "score": 2, "frame_features": 1, "prepare": None}


@pytest.mark.parametrize(
    ("paths", "rules"),
    [
        (["own/clip.safetensors"], {**CLIP_OF, "detect": None}),
        (["own/clip.json", "toy/videos.csv"], CLIP_OF | {"prepare": 1, "detect": None}),
        (
            ["own/detector.safetensors", "splits/jhmdb/st-clip/1.json", "toy/excluded.csv"],
            {"detect": 1, "splits": 2, "key_frames": 1, "frame_features": None},
        ),
    ],
)
def test_an_older_file_in_place_of_one_that_people_bring_counts(
    project: Path, paths: list[str], rules: dict[str, int | None]
) -> None:
    for path in paths:
        content = (project / path).read_bytes()  # JSON is read when the workflow is parsed
        replace_by_older(project / path, f"{content.decode('utf-8', 'replace')}\n")
    found = plan(project)
    assert {rule: found.get(rule) for rule in rules} == rules


def test_edited_code_of_ones_own_counts(project: Path) -> None:
    for path in ("dummy_parts.py", "toy_data.py"):
        replace_by_older(project / path, (project / path).read_text() + "EDITED = True\n")
    found = plan(project)
    assert (found["train"], found["prepare"], found.get("detect")) == (1, 1, None)


def test_what_was_copied_with_a_new_time_counts_by_its_content(project: Path) -> None:
    for path in ("toy/videos.csv", "toy_data.py"):
        (project / path).touch()
    assert plan(project) == DONE


def test_a_folder_copied_without_times_is_told_and_helped(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(made, copied, copy_function=shutil.copy)
    for number, top in enumerate(["results", "runs", "data"]):  # what follows from it is older
        for path in (copied / top).rglob("*"):
            os.utime(path, (2 * 10**9 + number, 2 * 10**9 + number))
    done = snakemake(copied, "-n", TABLE, *TOY, *BOTH)
    assert "`stclip doctor` says what to do" in done.stdout + done.stderr
    assert planned(done)["train"] == 2
    monkeypatch.chdir(copied)
    told = CliRunner().invoke(app, FOLDER)
    assert (told.exit_code, "copied without times" in told.stdout) == (1, True)
    assert "stclip doctor --touch" in told.stdout
    assert CliRunner().invoke(app, ["doctor", "--touch"]).exit_code == 0
    helped = CliRunner().invoke(app, FOLDER)
    assert (helped.exit_code, "0 newer" in helped.stdout) == (0, True)
    lr = {"dummy": {"preprocessing": {"enlarge": 1.5}}}
    edit(copied / "config/scales/mini.yaml", lambda c: c["methods"].update(lr))
    done = snakemake(copied, "-n", TABLE, *TOY, *BOTH)
    assert "stclip doctor" not in done.stdout + done.stderr
    assert planned(done)["train"] == 1  # what changed beside the times is still noticed


def test_a_rule_s_file_replaced_by_an_older_one_is_told(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(made, copied)
    replace_by_older(copied / "data/mini/jhmdb/boxes.parquet", "other boxes")
    monkeypatch.chdir(copied)
    told = CliRunner().invoke(app, FOLDER)
    assert (told.exit_code, "0 newer, 1 older" in told.stdout) == (1, True)
    assert "data/mini/jhmdb/boxes.parquet" in told.stdout


def test_without_notes_the_doctor_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "any").touch()
    assert "snakemake --touch TARGET" in CliRunner().invoke(app, FOLDER).stdout
