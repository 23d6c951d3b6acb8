"""profiles/slurm against a real Slurm: what jobs ask for, and what a lost node costs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from slurm_cluster import Cluster
from small_project import checked, copy_of_finished, edit, environment, run_in

from stclip.config import load_scale

RUN = Path("runs/mini/jhmdb/st-clip/1/st_clip/0")
UNTRAINED = Path("runs/mini/jhmdb/st-clip/1/dummy/0")
LOG = "logs/train/mini/jhmdb/st-clip/1/st_clip/0.log"
STEPS, EVERY = 8, 2


def shrink(scale: dict) -> None:  # type: ignore[type-arg]
    scale["methods"]["st_clip"]["train"] |= {"iterations": STEPS, "checkpoint_every": EVERY}
    scale["resources"]["train"] = {"gpu": 2, "threads": 3, "mem_mb": 3000, "runtime": 7}
    scale["resources"]["score"] = {"gpu": 1, "threads": 2, "mem_mb": 2500, "runtime": 5}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on this machine, two processes as on two GPUs, without a cluster."""
    project = copy_of_finished(tmp_path_factory, "slurm")
    shutil.rmtree(project / "runs")
    edit(project / "config" / "config.yaml", lambda c: c.update(boxes=["gt"]))
    edit(project / "config" / "scales" / "mini.yaml", shrink)
    command = ["snakemake", "--cores", "3", "--resources", "gpu=2", "--"]
    command += [str(RUN / "weights.safetensors")]
    env = environment(project)  # as on a node: forks differ from it in the last digit
    checked(subprocess.run(command, cwd=project, env=env, capture_output=True, text=True))
    return project


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def test_a_lost_node_costs_what_follows_the_last_checkpoint(
    project: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Jobs ask for what their rules state; lost ones run again and end with the same numbers."""
    other = tmp_path_factory.mktemp("cluster") / "project"
    shutil.copytree(project, other)
    for folder in ("runs", "logs"):
        shutil.rmtree(other / folder)
    targets = [f"{RUN}/weights.safetensors", f"{UNTRAINED}/metrics.json"]
    command = ["snakemake", *targets, "--workflow-profile", "slurm", "--latency-wait", "5"]
    # Without an accounting database; and the first look at a job is soon.
    command += [
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "1",
    ]
    # With the socket of a process of the submitting machine, which no node can reach.
    settings = cluster.environment | environment(other) | {"STCLIP_PRELOADED": "/nowhere/socket"}
    settings["PATH"] = f"{cluster.folder}{os.pathsep}{settings['PATH']}"
    process = subprocess.Popen(
        command, cwd=other, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 900
        while not (other / RUN / "checkpoint.pt").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        cluster.fail_node()
        reached = (other / LOG).read_text()
        cluster.repair_node()
        said, _ = process.communicate(timeout=900)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said

    jobs = {}
    for job in cluster.jobs():
        jobs.setdefault(job["Comment"], []).append(job)
    assert sorted(jobs) == [
        "rule_test_evaluate_score",  # a job of two rules
        "rule_train_wildcards_mini_jhmdb_st-clip_1_dummy_0",
        "rule_train_wildcards_mini_jhmdb_st-clip_1_st_clip_0",
    ]
    trainings = jobs["rule_train_wildcards_mini_jhmdb_st-clip_1_st_clip_0"]
    assert [job["JobState"] for job in trainings] == ["NODE_FAIL", "COMPLETED"]
    for job in trainings:
        assert job["TRES"].split(",")[:2] == ["cpu=3", "mem=3000M"]
        assert job["TresPerJob"] == "gres:gpu:2"
        assert (job["TimeLimit"], job["Requeue"]) == ("00:07:00", "0")
    for job in jobs["rule_train_wildcards_mini_jhmdb_st-clip_1_dummy_0"]:
        assert "TresPerJob" not in job  # nothing to train
    for job in jobs["rule_test_evaluate_score"]:
        assert job["TRES"].split(",")[:2] == ["cpu=2", "mem=2500M"]
        assert job["TresPerJob"] == "gres:gpu:1"
        assert job["TimeLimit"] == "00:35:00"  # one after the other

    assert f"steps 0 to {STEPS} on 2 x cpu" in reached
    resumed = (other / LOG).read_text()
    (begun,) = re.findall(rf"steps (\d+) to {STEPS} on 2 x cpu", resumed)
    assert int(begun) >= EVERY
    (first,) = (other / ".snakemake/slurm_logs").rglob(f"{trainings[0]['JobId']}.log")
    assert re.search(r"gpus: \d,\d", first.read_text())  # those that Slurm gave the job
    ours, undisturbed = other / RUN, project / RUN
    weights = [(run / "weights.safetensors").read_bytes() for run in (ours, undisturbed)]
    assert weights[0] == weights[1]
    assert losses(ours) == losses(undisturbed)
    assert len(losses(ours)) == STEPS
    assert json.loads((other / UNTRAINED / "metrics.json").read_text())["metrics"]["gt"]


def test_profiles_name_rules_that_there_are() -> None:
    """What a profile says of a rule that does not exist would go unheard."""
    rules = {
        name
        for file in (ROOT / "workflow" / "rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)
    }
    for path in (ROOT / "profiles").glob("*/config.yaml"):
        profile = yaml.safe_load(path.read_text())
        for key in ("set-threads", "set-resources", "groups"):
            assert set(profile.get(key, {})) <= rules, (path, key)


def test_jobs_at_paper_scale_ask_for_what_it_states() -> None:
    targets = ["results/table10.csv", "results/detectors.csv"]
    command = ["snakemake", *targets, "-n", "--quiet", "host", "--workflow-profile", "slurm"]
    done = run_in(ROOT, *command, "--cores", "64", "--config", "scale=paper")
    assert done.returncode == 0, done.stderr
    resources = load_scale(ROOT / "config", "paper").resources
    stated = {rule: own.model_dump(exclude_none=True) for rule, own in resources.items()}
    stated |= {name: stated["features"] for name in ("frame_features", "box_features")}
    stated |= {"costs": {"gpu": 1, "threads": 8, "mem_mb": 32000, "runtime": 240}}
    asked = {}
    for block in re.split(r"^ *(?:local)?rule ", done.stdout, flags=re.MULTILINE)[1:]:
        rule, text = block.split(":", 1)
        threads = re.search(r"^ +threads: (\d+)$", text, re.MULTILINE)
        found = dict(re.findall(r"\b(gpu|mem_mb|runtime)=(\d+)", text))
        if found.get("gpu") != "0" or rule != "train":  # there with nothing to train
            asked.setdefault(rule, set()).add(
                frozenset({*found.items(), ("threads", threads and threads[1])})
            )
    for rule in ("finetune", "detect", "objects", "box_features", "train", "score", "costs"):
        assert len(asked[rule]) == 1, (rule, asked[rule])
        (one,) = asked[rule]
        assert dict(one) == {name: str(value) for name, value in stated[rule].items()}, rule
    for rule in ("prepare", "evaluate"):
        assert all("gpu" not in dict(one) for one in asked[rule])


# As Snakemake submits a group; a dry run does not say what it asks for.
ASKED = """
import json
from snakemake.cli import main
from snakemake.dag import DAG
from snakemake.resources import GroupResources

postprocess = DAG.postprocess

async def told(dag, *args, **keywords):
    await postprocess(dag, *args, **keywords)
    for group in {id(g): g for g in dag._group.values()}.values():
        asked = GroupResources.basic_layered(
            group.toposorted, constraints=group.global_resources, run_local=False,
            additive_resources=["runtime"], sortby=["runtime"],
        )
        rules = sorted(job.rule.name for job in group.jobs)
        print("group", json.dumps({"rules": rules} | asked))

DAG.postprocess = told
main()
"""


def test_five_runs_may_be_one_job_of_one_gpu() -> None:
    """The options that docs/scaling.md names, beside the profile."""
    document = (ROOT / "docs" / "scaling.md").read_text()
    (options,) = re.findall(r"--workflow-profile slurm (--groups [^\n`]+)", document)
    targets = ["data/paper/jhmdb/boxes.parquet", "results/table2.csv", "-n", "--quiet", "host"]
    chosen = ["scale=paper", "methods=[st_clip]", "seeds=[0,1,2,3,4]", "splits=['1']"]
    command = [*targets, "--cores", "640", "--workflow-profile", "slurm", *options.split()]
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *command, "--config", *chosen], cwd=ROOT,
        env=environment(ROOT), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("group ") for line in done.stdout.splitlines()]
    (asked,) = [json.loads(line) for line in lines if line.startswith('{"rules"')]
    assert asked["rules"] == sorted(["train", "score", "evaluate"] * 5)
    own = load_scale(ROOT / "config", "paper").resources
    assert (asked["gpu"], asked["_cores"], asked["mem_mb"]) == (1, 8, own["train"].mem_mb)
    # one after the other, but for the evaluations, which need no GPU
    assert asked["runtime"] == 5 * (own["train"].runtime + own["score"].runtime) + 30


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]
