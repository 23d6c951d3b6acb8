"""The story of versions: one machine makes and pushes, another pulls and goes on from there."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from forks import forked
from small_project import (
    TABLE,
    checked,
    copy_project,
    edit,
    environment,
    make_project,
    planned,
    snakemake,
)

SCALE = Path("config/scales/mini.yaml")
SKIPPED = "Stage '{}' didn't change, skipping"
STAGES = [
    *("weights@mini", "data@mini-jhmdb", "detections@mini-jhmdb", "models@mini-jhmdb"),
    *("tables@mini", "summary@mini-jhmdb"),
]


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """By the code that lies there."""
    env = forked(folder, code=folder)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def run(folder: Path, *command: str) -> str:
    done = checked(call(folder, *command))
    return done.stdout + done.stderr


def jobs_to_do(folder: Path) -> dict[str, int]:
    return planned(call(folder, "snakemake", "--cores", "2", "-n", TABLE))


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", message)


def shrink(scale: dict[str, Any]) -> None:
    scale["miniature"]["render"]["jhmdb"]["params"] |= {"test_videos": 1}
    scale["methods"]["st_clip"]["train"] |= {"iterations": 5}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with everything made, its lock committed, its files pushed to a remote."""
    folder = make_project(tmp_path_factory.mktemp("first"))
    remote = tmp_path_factory.mktemp("remote")
    for name in ("stclip", "baselines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/plots"):
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    stages = folder / "dvc.yaml"
    both = "datasets: [jhmdb, ucf101_24, ava]"
    assert both in stages.read_text()
    stages.write_text(stages.read_text().replace(both, "datasets: [jhmdb]"))
    methods = ["clip_frame", "st_clip"]
    edit(folder / "config" / "config.yaml", lambda c: c.update(methods=methods))
    edit(folder / SCALE, shrink)
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "remote", "add", "--default", "store", str(remote))
    commit(folder, "before")
    run(folder, "dvc", "repro")
    commit(folder, "made")
    run(folder, "dvc", "push")
    return folder


@pytest.fixture(scope="module")
def second(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone with everything pulled."""
    folder = tmp_path_factory.mktemp("clones") / "second"
    run(first, "git", "clone", "-q", str(first), str(folder))
    run(folder, "stclip", "pull")
    return folder


@pytest.fixture
def clean(second: Path) -> Iterator[Path]:
    """The clone without the edits of an earlier test."""
    yield second
    run(second, "git", "checkout", "-q", ".")
    run(second, "stclip", "pull", "--cached", "--force")


def test_a_second_repro_does_nothing(first: Path) -> None:
    said = run(first, "dvc", "repro")
    assert [stage for stage in STAGES if SKIPPED.format(stage) in said] == STAGES
    assert "Data and pipelines are up to date" in said
    assert "Nothing to be done" in run(
        first, "snakemake", "--cores", "2", "results/mini/table2.csv"
    )


def test_after_a_pull_nothing_is_left_to_make(first: Path, second: Path) -> None:
    assert jobs_to_do(second) == {"active_scale": 1, "total": 1}
    assert "up to date" in run(second, "dvc", "status")
    of_first = (first / "results/mini/table2.csv").read_bytes()
    assert (second / "results/mini/table2.csv").read_bytes() == of_first


def test_a_change_of_table_code_makes_only_tables_anew(clean: Path) -> None:
    code = clean / "stclip" / "tables" / "cells.py"
    code.write_text(code.read_text().replace('.2f}"', '.1f}"'))
    said = run(clean, "dvc", "repro")
    assert [stage for stage in STAGES if SKIPPED.format(stage) in said] == STAGES[:4]
    changed = run(clean, "dvc", "diff", "--json")
    names = [entry["path"] for entry in json.loads(changed)["modified"]]
    assert "results/mini/table2.csv" in names
    assert not [name for name in names if name.startswith(("runs", "data"))]


def test_a_learning_rate_trains_its_method_alone_in_both_tools(clean: Path) -> None:
    lr = {"lr": 2e-3}
    edit(clean / SCALE, lambda c: c["methods"]["st_clip"]["train"].update(lr))
    assert jobs_to_do(clean) == {
        "train": 1, "score": 1, "evaluate": 1, "table": 1, "active_scale": 1, "total": 5,
    }  # fmt: skip
    said = run(clean, "dvc", "repro")
    assert [stage for stage in STAGES if SKIPPED.format(stage) in said] == STAGES[:3]
    names = [e["path"] for e in json.loads(run(clean, "dvc", "diff", "--json"))["modified"]]
    files = [name.split("/") for name in names if not name.endswith("/")]  # others are folders
    runs = {parts[5] for parts in files if parts[:3] == ["runs", "mini", "jhmdb"]}
    assert runs == {"st_clip"}

    # What it did to the numbers, against the commit before.
    moved = json.loads(run(clean, "dvc", "metrics", "diff", "--json"))
    assert list(moved) == ["results/summary/mini/jhmdb/metrics/st_clip.json"]
    table = run(clean, "dvc", "params", "diff")
    assert "methods.st_clip.train.lr" in table
    plots = json.loads(run(clean, "dvc", "plots", "diff", "--json"))["data"]
    (heat,) = (figures for name, figures in plots.items() if name.endswith("ap_by_class.csv"))
    assert {revision for figure in heat for revision in figure["revisions"]} == {
        "HEAD",
        "workspace",
    }
    page = run(clean, "dvc", "plots", "diff").splitlines()[-1].removeprefix("file://")
    assert "ST-CLIP, voted" in Path(page).read_text()


def test_metrics_show_a_row_per_method(second: Path) -> None:
    shown = json.loads(run(second, "dvc", "metrics", "show", "--json"))
    found = {Path(path).stem: row["data"] for path, row in shown[""]["data"].items()}
    assert {method: list(values) for method, values in found.items()} == {
        "clip_frame": ["independent"], "st_clip": ["independent", "voted"],
    }  # fmt: skip
    assert all(0 <= v <= 1 for m in found.values() for a in m.values() for v in a.values())


def test_a_pull_that_fails_says_so_and_changes_no_time(first: Path, tmp_path: Path) -> None:
    run(first, "git", "clone", "-q", str(first), str(tmp_path / "third"))
    third = tmp_path / "third"
    run(third, "dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "nothing"))
    done = subprocess.run(
        ["stclip", "pull"], cwd=third, env=environment(third), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "error: `dvc pull` failed, see above; no file's time was changed." in done.stderr
    assert not (third / ".snakemake").exists()


def test_what_the_stages_need_of_others_is_made_by_these(tmp_path: Path) -> None:
    """Figures may show runs that are in no main table; every CLIP that is shipped makes runs."""
    project = copy_project(tmp_path)
    done = snakemake(project, "-n", "--quiet", "host", "--config", "datasets=[ava]", "--", "models")
    assert done.returncode == 0, done.stdout + done.stderr
    run = "runs/mini/ava/st-clip/1/st_clip+all_tokens/0"
    for file in ("weights.safetensors", "scores_gt_unseen.parquet"):
        assert f"{run}/{file}" in done.stdout + done.stderr
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["models"]["deps"]
    shipped = {f"stclip/mini/{path.name}" for path in (ROOT / "stclip/mini").glob("tiny_clip*/")}
    assert shipped <= {*deps}


def test_every_key_of_the_stages_exists_and_every_data_set_is_named() -> None:
    """A data set or a key that dvc.yaml does not know would not be versioned, or stop it."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages, (variables,) = content["stages"], content["vars"]
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert variables["datasets"] == config["datasets"]
    assert set(variables["tables"].split()) <= {"all"} | {
        f"results/{path.stem}.csv" for path in (ROOT / "config/tables").glob("*.yaml")
    }
    by_file = {}
    for stage in stages.values():
        for file in stage["params"]:
            for name, keys in file.items():
                by_file.setdefault(name, set()).update(keys)
    for scale in ("mini", "paper"):
        keys = yaml.safe_load((ROOT / f"config/scales/{scale}.yaml").read_text())
        assert by_file["config/scales/${item.scale}.yaml"] <= set(keys)
    named = by_file["config/config.yaml"]
    versions = {k.removeprefix("stage_version.") for k in named if k.startswith("stage_version.")}
    assert versions == set(config["stage_version"])
