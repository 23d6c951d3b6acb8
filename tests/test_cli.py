import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, World
from small_project import run_in

from stclip.records import LabelSplit


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_in(ROOT, "stclip", *arguments)


def test_a_mistake_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "prepare.log"
    done = run(
        "--log", str(log), "prepare", "--dataset", "kth", "--scale", "mini",
        "--raw", str(tmp_path), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "unknown dataset 'kth'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "unknown dataset 'kth'" in log.read_text()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' device that is full")
def test_a_log_on_a_full_disk_hides_no_message() -> None:
    done = run("--log", "/dev/full", "show", "none.csv")
    assert done.returncode == 1
    assert "error: none.csv: no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_archives_are_named(tmp_path: Path) -> None:
    done = run(
        "prepare", "--dataset", "jhmdb", "--scale", "mini",
        "--raw", str(tmp_path), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "stage",
    ["download", "prepare", "splits", "detect", "train", "score", "evaluate", "tables", "report"],
)
def test_every_stage_has_its_word(stage: str) -> None:
    assert stage in run("--help").stdout
    assert (ROOT / "workflow" / "rules" / f"{stage}.smk").exists()


def test_light_commands_do_not_import_torch() -> None:
    code = (
        "import sys; import stclip.cli, stclip.config, stclip.records, stclip.tables.main_table, "
        "stclip.evaluate.evaluate, stclip.evaluate.outside, stclip.prepare.jhmdb, "
        "stclip.download.download, stclip.report.predictions, stclip.report.page; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_evaluate_file_names_an_unknown_split(tmp_path: Path) -> None:
    done = run(
        "evaluate-file", "--dataset", "jhmdb", "--split", "9", "--ground-truth", "gt.json",
        "--detections", "d.csv", "--out", str(tmp_path / "o.json"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "unknown split" in done.stderr
    assert "jhmdb/st-clip/1.json" in done.stderr


def test_evaluate_file_scores_a_csv(tmp_path: Path) -> None:
    # Two videos of split 1: the first found, of the second one frame of two missed.
    box, videos = [0, 0, 10, 10], ["clap/a", "sit/b"]
    truth = {
        "labels": ["clap", "sit"],
        "train_videos": [[]],
        "test_videos": [videos],
        "nframes": {"clap/a": 1, "sit/b": 2},
        "resolution": {video: [240, 320] for video in videos},
        "gttubes": {"clap/a": {"0": [[[1, *box]]]}, "sit/b": {"1": [[[1, *box], [2, *box]]]}},
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "d.csv").write_text(
        "video,frame,class,score,x1,y1,x2,y2\na,1,clap,0.9,0,0,10,10\nb,1,sit,0.8,0,0,10,9\n"
    )
    done = run(
        "evaluate-file", "--dataset", "jhmdb", "--split", "1",
        "--ground-truth", str(tmp_path / "gt.json"), "--detections", str(tmp_path / "d.csv"),
        "--out", str(tmp_path / "o.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "o.json").read_text())
    assert result["AP"]["clap"] == 1
    assert result["AP"]["sit"] == 0.5  # recall 1/2 at precision 1
    assert result["settings"]["protocol"] == "iclip"


def test_a_new_split_is_made_and_resolved(world: World, tmp_path: Path) -> None:
    world.clips.write(tmp_path / "clips.parquet")
    options = ["--clips", str(tmp_path / "clips.parquet")]
    made, resolved = tmp_path / "made.json", tmp_path / "resolved.json"
    done = run(
        "splits", "make", *options, "--dataset", "jhmdb", "--name", "r1", "--num-unseen", "2",
        "--seed", "1", "--out", str(made),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run(
        "splits", "resolve", *options, "--split", str(made), "--scale", "mini",
        "--out", str(resolved),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = world.config / "datasets" / "jhmdb.yaml"
    content = dataset.read_text()
    for written, key in (
        ("exclusive_labels: [rnu]", "exclusive_labels"),
        ("exclusive_labels: null\nlabel_groups: {pose: [walk, rnu]}", "label_groups.pose"),
    ):
        dataset.write_text(content.replace("exclusive_labels: null", written))
        wrong = run(
            "splits", "resolve", *options, "--split", str(made), "--scale", "small",
            "--config", str(world.config), "--out", str(resolved),
        )  # fmt: skip
        assert wrong.returncode == 1
        assert f"unknown label of jhmdb, {key}: 'rnu'; known are" in wrong.stderr
        assert "the nearest is 'run'" in wrong.stderr
    split = LabelSplit.read(resolved)
    # Of ten clips, two an action, the first of each is official train: three base, two unseen.
    assert (len(split.train_clips), len(split.base_clips), len(split.unseen_clips)) == (3, 3, 2)
    assert (split.seed, split.family) == (1, "own")
