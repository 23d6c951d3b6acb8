"""The rehearsal cut to three classes, one split, two methods, one step: real sizes throughout."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from small_project import copy_project, edit, environment, snakemake

from stclip.config import read_yaml

CLASSES = ["clap", "golf", "run"]  # the last one unseen
METHODS = ["st_clip", "xclip"]
TABLE = "results/table2.csv"
RUN = Path("runs/rehearsal/jhmdb/st-clip/1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("rehearsal"))

    def cut(scale: dict) -> None:  # type: ignore[type-arg]
        scale["miniature"]["render"]["jhmdb"]["params"]["classes"] = CLASSES
        scale["datasets"]["jhmdb"] |= {"splits": ["1"]}
        for method in METHODS:
            scale["methods"][method]["train"] = {"iterations": 1, "batch_frames": 1}

    edit(folder / "config" / "scales" / "rehearsal.yaml", cut)
    chosen = {"scale": "rehearsal", "datasets": ["jhmdb"], "methods": METHODS}
    edit(folder / "config" / "config.yaml", lambda c: c.update(chosen))
    path = folder / "splits" / "jhmdb" / "st-clip" / "1.json"
    split = json.loads(path.read_text()) | {"base": CLASSES[:2], "unseen": CLASSES[2:]}
    path.write_text(json.dumps(split))
    done = snakemake(folder, TABLE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_every_method_of_the_table_ends_in_it(project: Path) -> None:
    table = pd.read_csv(project / TABLE)
    assert {*table["scale"]} == {"rehearsal"}
    assert {*table["method"]} == {"ST-CLIP", "X-CLIP"}
    assert table["split 1"].astype(float).between(0, 100).all()


def test_everything_but_the_pictures_and_the_weights_is_real(project: Path) -> None:
    paper, rehearsal = (
        read_yaml(ROOT / "config" / "scales" / f"{name}.yaml") for name in ("paper", "rehearsal")
    )
    assert {*rehearsal["models"]} == {*paper["models"]}
    assert {*rehearsal["backbones"]} == {*paper["backbones"]}
    clips = pd.read_parquet(project / "data/rehearsal/jhmdb/clips.parquet")
    assert {*zip(clips["height"], clips["width"], strict=True)} == {(240, 320)}
    for method in METHODS:
        config = read_yaml(project / RUN / method / "0" / "config.yaml")
        assert config["backbone"]["model"] == "ViT-B-16-quickgelu"
    assert (project / "data/rehearsal/models/ViT-B-16.pt").stat().st_size > 250e6


def test_the_plan_of_the_real_run_goes_by_what_it_took(project: Path) -> None:
    """Of the same methods; the real run's data are those whose counts are published."""
    out, stages = project / "results" / "plan.csv", project / "results" / "stages.csv"
    command = [
        "stclip", "plan", TABLE, "--scale", "paper", "--measured", "rehearsal",
        "--out", str(out), "--stages", str(stages),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(stages).set_index("rule")
    order = [rule for rule in table.index if rule in ("prepare", "detect", "train", "score")]
    assert order == ["prepare", "detect", "train", "score"]
    measured, real = (
        table["min"].astype(float) / 60,
        table["real h"].replace("-", "0").astype(float),
    )
    assert real["train"] > 100 * measured["train"]  # 3,000 and 1,000 steps of 8, after one of 1
    assert real["detect"] > 10 * measured["detect"]
    assert table["memory GB"].astype(float)["train"] > 1
    plan = pd.read_csv(out).set_index("table")
    assert float(plan.loc["table2", "GPU h"]) == pytest.approx(
        real[["detect", "train", "score"]].sum(), rel=0.05, abs=0.05
    )
