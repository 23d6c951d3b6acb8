"""What the Snakefile plans at paper scale: dry runs, nothing is computed."""

import subprocess

import pytest
import yaml
from conftest import ROOT
from small_project import DETECTORS, TABLE, planned, run_in

from stclip.config import load_method
from stclip.config.hashes import crops_key, frames_key

ABLATIONS = {  # name -> settings
    path.stem: content
    for path in sorted((ROOT / "config" / "tables").glob("*.yaml"))
    for content in [yaml.safe_load(path.read_text())]
    if content["kind"] == "ablation"
}


def test_paper_scale_plans_the_real_pipeline() -> None:
    command = ["snakemake", TABLE, "-n", "-p", "--quiet", "host", "--config", "scale=paper"]
    done = run_in(ROOT, *command)
    jobs = planned(done)
    methods = len(list((ROOT / "config" / "methods").glob("*.yaml")))
    assert jobs["download_archive"] == 3
    assert jobs["download_model"] == 3  # CLIP, ViCLIP, a detector
    assert jobs["train"] == jobs["score"] == jobs["evaluate"] == 4 * methods
    text = done.stdout + done.stderr
    assert "data/paper/jhmdb/raw/Rename_Images.tar.gz" in text
    assert "data/paper/models/ViT-B-16.pt" in text
    assert "mini" not in text.replace("snakemake-minimal", "")


def test_features_are_made_once_for_all_methods_that_read_the_same() -> None:
    tables = [TABLE, "results/table10.csv"]
    command = ["snakemake", *tables, "-n", "-p", "--quiet", "host", "--config", "scale=paper"]
    done = run_in(ROOT, *command)
    jobs = planned(done)
    names = [path.stem for path in (ROOT / "config" / "methods").glob("*.yaml")]
    methods = {
        name: load_method(ROOT / "config", name, dataset="jhmdb", scale="paper") for name in names
    }
    keys = {name: frames_key(m) for name, m in methods.items() if "frames" in m.features}
    assert jobs["frame_features"] == len(set(keys.values())) < len(keys)
    crops = {crops_key(m) for m in methods.values() if "boxes" in m.features}
    things = {crops_key(m) for m in methods.values() if "objects" in m.features}
    assert jobs["box_features"] == 2 * len(crops) + len(things)  # ground truth, detections, objects
    text = done.stdout + done.stderr
    for name, key in keys.items():
        reads = [line for line in text.splitlines() if f" score --method {name} " in line]
        assert len(reads) == 4
        assert all(
            f"--features frames=data/paper/jhmdb/features/{key}.safetensors" in r for r in reads
        )
    assert jobs["table"] == 2
    (costs,) = [line for line in text.splitlines() if " costs runs/" in line]
    assert all(f"--method {name} " in costs for name in names)
    read = [f"--features {n}:frames=data/paper/jhmdb/features/{key}." for n, key in keys.items()]
    assert all(option in costs for option in read)


def test_paper_scale_plans_every_ablation() -> None:
    tables = [f"results/{name}.csv" for name in ABLATIONS]
    command = ["snakemake", *tables, "-n", "-p", "--quiet", "host", "--config", "scale=paper"]
    command += [f"datasets=[{','.join({table['dataset'] for table in ABLATIONS.values()})}]"]
    done = run_in(ROOT, *command)
    jobs = planned(done)
    runs = {
        (table["dataset"], row["method"], split, seed)
        for table in ABLATIONS.values()
        for row in table["rows"]
        for split in table["splits"]
        for seed in table.get("seeds", [0])
    }
    assert jobs["train"] == jobs["score"] == jobs["evaluate"] == len(runs)
    assert jobs["table"] == jobs["active_scale"] == len(ABLATIONS)
    assert jobs["download_archive"] == 3 + 3 + (1 + 299)  # of J-HMDB, UCF101-24 and AVA, its films
    text = done.stdout + done.stderr
    assert "--method st_clip+its_100 --dataset jhmdb --scale paper" in text
    assert "--method st_clip+its_150 --dataset ava --scale paper" in text
    assert "mini" not in text.replace("snakemake-minimal", "")


def test_tables_of_drawn_pictures_need_no_data_at_paper_scale() -> None:
    tables = ["results/table12.csv", "results/table13.csv"]
    command = ["snakemake", *tables, "-n", "-p", "--quiet", "host", "--config", "scale=paper"]
    command += ["datasets=[ava]"]
    done = run_in(ROOT, *command)
    jobs = planned(done)
    assert jobs["parts"] == jobs["latency"] == 1
    assert jobs["table"] == jobs["active_scale"] == 2
    assert not {"train", "score", "download_archive", "download_model"} & jobs.keys()
    text = done.stdout + done.stderr
    assert "parts --table table12 --scale paper --out results/paper/costs/table12.json" in text
    assert "stclip gpus 1 stclip --log" in text  # the film's


def plan_at_paper_scale(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", DETECTORS, "-n", "--quiet", "host", "--config", "scale=paper"]
    return run_in(ROOT, *command, *arguments)


def test_paper_scale_compares_the_detectors_that_need_nothing_by_hand() -> None:
    jobs = planned(plan_at_paper_scale())
    assert jobs["download_model"] == 2  # both of torchvision's
    # of each data set: one is fine-tuned on each of its splits (AVA: 3), two are not
    assert jobs["finetune"] == 4 + 4 + 3
    assert jobs["detect"] == 3 * 2 + 4 + 4 + 3
    assert not {"train", "score"} & jobs.keys()


@pytest.mark.parametrize(
    ("detector", "hint"),
    [("released", "jhmdb_faster_RCNN_person.json"), ("detectron2_r50_fpn_3x", "conda env update")],
)
def test_a_detector_that_needs_something_by_hand_says_what(detector: str, hint: str) -> None:
    done = plan_at_paper_scale(f"detectors=[{detector}]")
    assert done.returncode != 0
    assert f"detector {detector} needs ['data/paper/by_hand/" in done.stdout + done.stderr
    assert hint in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_chosen_on_videos_of_their_own() -> None:
    """Scale mini_choice is mini, drawn from another seed, and touches none of mini's data."""
    command = ["snakemake", "results/settings.csv", "-n", "-p", "--quiet", "host"]
    command += ["--config", "scale=mini_choice"]
    done = run_in(ROOT, *command)
    jobs = planned(done)
    assert jobs["train"] >= 2 * 2
    text = done.stdout + done.stderr
    assert "data/mini_choice/source/jhmdb/puppet_mask.zip" in text
    assert "data/mini/source" not in text
    assert "data/mini/jhmdb" not in text
    assert "runs/mini/" not in text
