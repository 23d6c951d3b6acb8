"""The whole Snakefile on a cut-down miniature."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from forks import LARGEST_FILE, of_forks
from small_project import (
    DETECTORS,
    PAGE,
    TABLE,
    copy_of_finished,
    edit,
    make_project,
    planned,
    run_in,
    snakemake,
    unlock,
)
from wandb_offline import read_runs

from stclip.storage.files import read_json_lines
from stclip.tracking.wandb_runs import numbers_of


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_finished(tmp_path_factory, "pipeline")


def metrics(project: Path) -> dict[str, str]:
    return {
        str(p.relative_to(project)): p.read_text() for p in project.glob("runs/**/metrics.json")
    }


def test_the_table_has_a_row_per_method_and_assumption(project: Path) -> None:
    table = pd.read_csv(project / TABLE, dtype=str)
    rows = list(zip(table["method"], table["assumption"], strict=True))
    assert [method for method, _ in rows] == [
        "CLIP (baseline)",
        "ST-CLIP",
        "Mean of frames",
        "ST-CLIP",
    ]
    cells = table.drop(columns=["method", "assumption", "scale", "benchmark"]).to_numpy()
    assert (cells != "-").all()
    assert set(table["scale"]) == {"mini"}
    assert set(table["benchmark"]) == {"mini-zs-jhmdb/st-clip@1"}
    assert not [c for c in table if "published" in c]
    for suffix in (".csv", ".md", ".tex"):
        assert (project / "results" / "mini" / f"table2{suffix}").stat().st_size > 0
    assert "Mean of frames" in (project / PAGE).read_text("utf-8")


def test_metrics_say_where_they_come_from(project: Path) -> None:
    run = json.loads(metrics(project)["runs/mini/jhmdb/st-clip/1/st_clip/0/metrics.json"])
    assert (run["scale"], run["dataset"], run["split"], run["seed"]) == ("mini", "jhmdb", "1", 0)
    assert run["config"]["train"]["iterations"] == 40
    assert len(run["split_sha256"]) == 64
    assert run["versions"]["torch"]
    assert [run["computed"][stage]["precision"] for stage in ("train", "score")] == ["fp32"] * 2
    for boxes in ("detected", "gt"):
        for labels in ("unseen", "base"):
            for assumption in ("independent", "voted"):
                cell = run["metrics"][boxes][labels][assumption]
                low, high = cell["interval"]
                assert 0 <= low <= cell["mAP"] <= high <= 1


RECORDED = Path(__file__).parent / "losses" / "metrics.json"


def test_the_metrics_are_the_recorded_ones(project: Path) -> None:
    """As `tests/losses` does for trainings; 0.02 mAP of room, for other processors.

    On boxes of a detector it is 1 mAP: one trained for 12 steps only is another detector on
    another processor, while the scores on ground-truth boxes stay.
    """
    room = {"gt": 2e-4, "detected": 1e-2}
    recorded = json.loads(RECORDED.read_text("utf-8"))
    compared = set()
    for content in metrics(project).values():
        run = json.loads(content)
        for boxes, groups in run["metrics"].items():
            for labels, cells in groups.items():
                for assumption, cell in cells.items():
                    name = f"{run['method']}/{boxes}/{labels}/{assumption}"
                    if name in recorded:
                        expected = {k: recorded[name][k] for k in ("mAP", "video_mAP")}
                        assert cell["mAP"] == pytest.approx(expected["mAP"], abs=room[boxes]), name
                        found, wanted = cell["video_mAP"], expected["video_mAP"]
                        assert found == pytest.approx(wanted, abs=room[boxes]), name
                        compared.add(name)
    assert compared == set(recorded)


def test_a_second_data_set_needs_its_yaml_and_its_module(project: Path) -> None:
    """Several people, several labels a person, untrimmed, another frame rate, tested on val."""
    done = snakemake(project, "--config", "datasets=[jhmdb,toy]")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    tables = [pd.read_csv(project / name, dtype=str) for name in (TABLE, "results/toy.csv")]
    assert [set(table["benchmark"]) for table in tables] == [
        {"mini-zs-jhmdb/st-clip@1"},
        {"toy/own@2"},
    ]
    # the video-level method has no row with voting, as these boxes may not vote
    assert tables[1]["method"].tolist() == ["CLIP (baseline)", "Mean of frames", "ST-CLIP"]
    assert (tables[1].drop(columns="avg 95% interval") != "-").all(axis=None)
    run = json.loads((project / "runs/mini/toy/own/a/st_clip/0/metrics.json").read_text())
    assert run["assumptions"] == ["independent"]
    cells = run["metrics"]["gt"]
    # Both groups are scored on all val videos. Annotated on seconds 1-6, without those excluded:
    # d 1 2 4 5 6, e 1-5, f 1 2 4 5 6; persons with a label of the group count.
    assert {labels: cell["independent"]["num_clips"] for labels, cell in cells.items()} == {
        "unseen": 3,
        "base": 3,
        "all": 3,
    }
    assert cells["unseen"]["independent"]["num_frames"] == 3 + 5 + 3
    assert "video_mAP" not in cells["unseen"]["independent"]
    assert "toy" in (project / PAGE).read_text("utf-8")
    assert "Nothing to be done" in snakemake(project, "--config", "datasets=[jhmdb,toy]").stderr


def test_every_training_and_evaluation_is_mirrored_to_wandb(project: Path) -> None:
    """Offline, beside the files that are the record."""
    runs = {
        (run.about["job"], run.about["group"]): run
        for run in read_runs(project / "wandb")
        if run.finished and run.config["dataset"] == "jhmdb"
    }
    assert {("train", "st_clip"), ("evaluate", "st_clip"), ("evaluate", "dummy")} <= set(runs)
    assert ("train", "clip_frame") not in runs  # nothing is trained
    trained = runs["train", "st_clip"]
    assert trained.history == read_json_lines(
        project / "runs/mini/jhmdb/st-clip/1/st_clip/0/log.jsonl"
    )
    for method in ("clip_frame", "st_clip", "dummy"):
        path = f"runs/mini/jhmdb/st-clip/1/{method}/0/metrics.json"
        numbers = numbers_of(json.loads(metrics(project)[path])["metrics"])
        summary = runs["evaluate", method].summary
        assert {key: summary[key] for key in numbers} == numbers


def test_each_stage_logs_what_it_read_and_kept(project: Path) -> None:
    logs = {p.name: p.read_text() for p in (project / "logs").rglob("*.log")}
    assert logs, "no stage logged"
    stages = {p.relative_to(project / "logs").parts[0] for p in (project / "logs").rglob("*.log")}
    assert {"download", "prepare", "splits", "detect", "train", "score", "evaluate"} <= stages
    for path in (project / "logs").rglob("*.log"):
        if "copy" not in path.name:
            assert "|" in path.read_text(), f"{path} is empty"


def test_the_table_of_detectors_needs_no_method(project: Path) -> None:
    jobs = planned(snakemake(project, "-n", DETECTORS))
    assert jobs == {
        "finetune": 1, "detect": 1, "quality": 1, "table": 1, "active_scale": 1, "total": 5,
    }  # fmt: skip
    done = snakemake(project, DETECTORS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    table = pd.read_csv(project / DETECTORS, dtype=str)
    assert list(zip(table["detector"], table["boxes"], strict=True)) == [
        ("ground truth", "gt"), ("tiny", "all"), ("tiny", "detected"), ("tiny", "top3"),
        ("tiny_finetuned", "all"), ("tiny_finetuned", "detected"), ("tiny_finetuned", "top3"),
    ]  # fmt: skip
    assert table.loc[0, ["AP", "recall@0.5", "ceiling avg"]].tolist() == ["100.00"] * 3
    assert set(table["scale"]) == {"mini"}
    assert not [c for c in table if "published" in c or c.startswith("ceiling split 2")]
    folder = project / "data/mini/jhmdb/detections"
    files = sorted(p.name for p in folder.rglob("*") if p.is_file())
    assert files == ["1.parquet", "all.parquet"]
    assert "Nothing to be done" in snakemake(project, DETECTORS).stderr


def test_a_table_of_ablations_is_one_file(project: Path) -> None:
    """It trains the variant alone: the method's own run is that of Table 2."""
    table = {
        "kind": "ablation", "title": "Mine", "note": "A test.", "dataset": "jhmdb", "splits": ["1"],
        "reference": "st_clip",
        "rows": [{"method": "st_clip+no_prompting"}, {"method": "st_clip", "title": "full"}],
    }  # fmt: skip
    (project / "config" / "tables" / "mine.yaml").write_text(yaml.safe_dump(table))
    jobs = planned(snakemake(project, "-n", "results/mine.csv"))
    assert jobs == {
        "train": 1, "score": 1, "evaluate": 1, "table": 1, "active_scale": 1, "total": 5,
    }  # fmt: skip
    done = snakemake(project, "results/mine.csv")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    cells = pd.read_csv(project / "results" / "mine.csv", dtype=str)
    assert cells["variant"].tolist() == ["ST-CLIP, text not prompted", "full"]
    assert cells["std over seeds"].tolist() == ["-", "-"]
    assert (cells.drop(columns="std over seeds") != "-").all(axis=None)
    of_table_2 = pd.read_csv(project / TABLE, dtype=str).set_index(["method", "assumption"])
    assert cells.loc[1, "split 1"] == of_table_2.loc[("ST-CLIP", "independent"), "split 1"]
    assert (
        (project / "results/mini/mine.md")
        .read_text()
        .startswith("Mine (scale mini, mini-zs-jhmdb/st-clip@1). A test.")
    )
    run = json.loads(
        metrics(project)["runs/mini/jhmdb/st-clip/1/st_clip+no_prompting/0/metrics.json"]
    )
    assert run["config"]["params"]["prompting"] == "none"
    assert "Nothing to be done" in snakemake(project, "results/mine.csv", TABLE).stderr


def test_a_fine_tuned_detector_can_be_that_of_a_data_set(project: Path) -> None:
    """Its boxes are of the split that is scored."""
    path = project / "config" / "scales" / "mini.yaml"
    before = path.read_text()
    edit(path, lambda c: c["datasets"]["jhmdb"].update(detector="tiny_finetuned"))
    done = snakemake(project, "-n", "-p", TABLE, "--quiet", "host")
    path.write_text(before)
    assert planned(done)["score"] == 3
    assert "--detections data/mini/jhmdb/detections/tiny_finetuned/st-clip/1.parquet" in done.stdout


def test_fine_tuning_settings_make_the_fine_tuned_boxes_anew(project: Path) -> None:
    snakemake(project, DETECTORS)
    path = project / "config" / "scales" / "mini.yaml"
    before = path.read_text()
    edit(path, lambda c: c["detectors"]["tiny_finetuned"]["finetune"].update(lr=1e-4))
    jobs = planned(snakemake(project, "-n", DETECTORS))
    command = ["stclip", "detect", "--detector", "tiny_finetuned", "--dataset", "jhmdb", "--scale"]
    folder = "data/mini/jhmdb"
    command += ["mini", "--weights", f"{folder}/detectors/tiny_finetuned/st-clip/1.safetensors"]
    command += ["--split", f"{folder}/splits/st-clip/1.json", "--clips", f"{folder}/clips.parquet"]
    command += ["--key-frames", f"{folder}/key_frames.parquet"]
    command += ["--frames", f"{folder}/frames", "--out", "elsewhere.parquet"]
    done = run_in(project, *command)
    path.write_text(before)
    assert jobs == {
        "finetune": 1, "detect": 1, "quality": 1, "table": 1, "active_scale": 1, "total": 5,
    }  # fmt: skip
    assert done.returncode == 1
    assert "fine-tuned by other settings or on another split" in done.stderr
    assert not (project / "elsewhere.parquet").exists()


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    done = snakemake(project, TABLE)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_method_s_learning_rate_retrains_that_method_alone(project: Path) -> None:
    path = project / "config" / "scales" / "mini.yaml"
    before = path.read_text()
    edit(path, lambda c: c["methods"]["st_clip"]["train"].update(lr=2e-3))
    jobs = planned(snakemake(project, "-n", TABLE))
    path.write_text(before)
    assert jobs == {
        "train": 1, "score": 1, "evaluate": 1, "table": 1, "active_scale": 1, "total": 5,
    }  # fmt: skip


STAGES = {  # stage -> a file that says it is at work
    "render": "logs/mini/render/jhmdb.log",
    "prepare": "data/mini/jhmdb/.frames.tmp",
    "detector": "logs/mini/models/tiny_detector.log",
    "detect": "logs/detect/mini/jhmdb/tiny/all.log",
    "train": "runs/mini/jhmdb/st-clip/1/st_clip/0/checkpoint.pt",
    "score": "logs/score/mini/jhmdb/st-clip/1/st_clip/0.log",
    "evaluate": "logs/evaluate/mini/jhmdb/st-clip/1/st_clip/0.log",
}


def test_kill_in_every_stage_ends_with_the_same_numbers(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """kill -9 of everything, again and again; also shows that a seed fixes every number."""
    other = make_project(tmp_path_factory.mktemp("killed"))
    for stage, sign in STAGES.items():
        unlock(other)
        process = subprocess.Popen(
            ["snakemake", "--cores", "2", TABLE], cwd=other, env=of_forks(other),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 300
        while not (other / sign).exists():
            assert process.poll() is None, f"ended before {stage}: {process.communicate()[0]}"
            assert time.monotonic() < deadline, f"{stage} never began"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (other / TABLE).exists()
    unlock(other)
    done = snakemake(other, TABLE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    log = (project / "logs/train/mini/jhmdb/st-clip/1/st_clip/0.log").read_text()
    resumed = (other / "logs/train/mini/jhmdb/st-clip/1/st_clip/0.log").read_text()
    assert "steps 0 to 40" in log
    assert "steps 0 to 40" not in resumed
    tries = read_runs(other / "wandb")
    (trained,) = [run for run in tries if run.finished and run.about["job"] == "train"]
    assert trained.history == read_json_lines(
        other / "runs/mini/jhmdb/st-clip/1/st_clip/0/log.jsonl"
    )
    same = [run for run in tries if trained.about["id"] in run.path.name]
    assert len(same) > 1  # a try each of the same run of W&B
    assert same[-1] is trained
    found, undisturbed = metrics(other), metrics(project)  # which has runs of other tests too
    assert len(found) == 3
    assert found == {name: undisturbed[name] for name in found}
    assert (other / TABLE).read_text() == (project / TABLE).read_text()


OUTPUTS = {  # stage -> its command line (folders of the finished project) and what it would write
    "prepare": "prepare --raw data/mini/jhmdb/raw --out {out} --dataset jhmdb --scale mini",
    "detect": "detect --detector tiny"
    " --clips {d}/clips.parquet --key-frames {d}/key_frames.parquet --frames {d}/frames"
    " --out {out}/all.parquet --dataset jhmdb --scale mini",
    "train": "train --method st_clip --split {d}/splits/st-clip/1.json --clips {d}/clips.parquet"
    " --boxes {d}/boxes.parquet --key-frames {d}/key_frames.parquet --frames {d}/frames"
    " --seed 0 --out {out} --dataset jhmdb"
    " --scale mini",
    "score": "score --method st_clip"
    " --weights runs/mini/jhmdb/st-clip/1/st_clip/0/weights.safetensors"
    " --split {d}/splits/st-clip/1.json --clips {d}/clips.parquet --boxes {d}/boxes.parquet"
    " --key-frames {d}/key_frames.parquet --detections {d}/detections/tiny/all.parquet"
    " --frames {d}/frames --source gt --seed 0"
    " --out {out} --dataset jhmdb --scale mini",
}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_full_disk_is_told_and_leaves_nothing_half(
    project: Path, tmp_path: Path, stage: str
) -> None:
    """A limit on the size of files stands in for the disk: writes fail midway in the same way."""
    command = OUTPUTS[stage].format(d="data/mini/jhmdb", out=tmp_path / "out").split()
    done = run_in(project, "stclip", *command, **{LARGEST_FILE: "3000"})
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert f"{tmp_path / 'out'}/" in done.stderr
    assert "too large" in done.stderr
    assert "Traceback" not in done.stderr
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.name for p in left if p.suffix in (".parquet", ".safetensors", ".npy")] == []


def test_a_damaged_archive_is_named_and_leaves_nothing_half(project: Path) -> None:
    archive = project / "data/mini/jhmdb/raw/Rename_Images.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    done = run_in(
        project, "stclip", "prepare", "--dataset", "jhmdb", "--scale", "mini",
        "--raw", str(archive.parent), "--out", str(project / "again"),
    )  # fmt: skip
    archive.write_bytes(whole)
    assert done.returncode == 1
    assert "Rename_Images.tar.gz" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "again" / "clips.parquet").exists()
    assert not (project / "again" / "frames").exists()
