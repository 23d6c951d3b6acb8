"""What `stclip plan` says of a table: jobs read, work counted, time scheduled, all by hand too."""

import pandas as pd
import pytest
from conftest import ROOT, World
from test_cli import run as command

import stclip.costs.counted
import stclip.costs.workload
from stclip.config import read_yaml
from stclip.costs.counted import Sample, count_detector, count_sample
from stclip.costs.plan import Job, behind, build_plan, dry_run, read_jobs, wall_clock
from stclip.costs.rates import Rates, Work
from stclip.costs.workload import Workload
from stclip.errors import ConfigError

PLAN = ROOT / "docs" / "results" / "paper" / "plan.csv"
DRY_RUN = """
[Thu Jan  1 00:00:00 2026]
localrule download:
    output: raw.tar
    jobid: 3
    reason: Forced execution
    wildcards: scale=paper
    resources: tmpdir=/tmp

rule train:
    input: raw.tar, splits/1.json
    output: w.safetensors, log.jsonl
    jobid: 1
    wildcards: scale=paper, method=st_clip+rank_4
    threads: 8
    resources: tmpdir=/tmp, gpu=2, runtime=120, mem_mb=32000, mem=32 GB

localrule all:
    input: w.safetensors
    jobid: 0
    resources: tmpdir=/tmp
""".splitlines()
WORLD_OF = {"dataset": "jhmdb", "family": "st-clip", "split": "1"}


def test_jobs_are_what_the_dry_run_lists() -> None:
    download, train, everything = read_jobs(DRY_RUN)
    assert (download.rule, download.threads, download.gpus) == ("download", 1, 0)
    assert train == Job(
        number=1, rule="train", outputs=("w.safetensors", "log.jsonl"), threads=8, gpus=2,
        wildcards={"scale": "paper", "method": "st_clip+rank_4"}, after=frozenset({3}),
    )  # fmt: skip
    jobs = {job.number: job for job in (download, train, everything)}
    assert [job.rule for job in behind(jobs, "w.safetensors")] == ["train", "download"]
    assert len(behind(jobs, "all")) == 3
    with pytest.raises(ConfigError, match="no job of the dry run makes 'table99'"):
        behind(jobs, "table99")


def test_reading_goes_on_beside_computing() -> None:
    rates = Rates(bf16_tflops=2, fp32_tflops=1, pictures_per_s=10, start_s=5, light_s=7)
    work = Work(operations=40e12, precision="bf16", pictures=700)
    # 20 s to compute on one GPU; 700 / (10 x 7) = 10 s to read by the seven other threads
    assert rates.seconds(work, threads=8, gpus=1) == pytest.approx(5 + 20)
    assert rates.seconds(work, threads=8, gpus=4) == pytest.approx(5 + 10)
    assert rates.seconds(work, threads=1, gpus=1) == pytest.approx(5 + 70)
    fp32 = Work(operations=40e12)
    assert rates.seconds(fp32, threads=8, gpus=1) == pytest.approx(5 + 40)
    assert rates.seconds(Work(pictures=100), threads=1, gpus=0) == pytest.approx(7 + 10)


def test_the_clock_is_that_of_list_scheduling() -> None:
    """prepare 5 s; then a (10 s, b follows with 20 s) and c, d of 10 s each, all on a GPU."""
    seconds = {0: 5.0, 1: 10.0, 2: 20.0, 3: 10.0, 4: 10.0, 5: 1.0}
    jobs = [
        Job(number=0, rule="prepare"),
        *(Job(number=n, rule="train", gpus=1, after=frozenset({0})) for n in (1, 3, 4)),
        Job(number=2, rule="score", gpus=1, after=frozenset({1})),
        Job(number=5, rule="table", after=frozenset({2, 3, 4})),
    ]
    assert wall_clock(jobs, seconds, gpus=1) == 5 + 50 + 1
    # a and c start; at 15 b and d: b ends at 35
    assert wall_clock(jobs, seconds, gpus=2) == 35 + 1
    assert wall_clock(jobs, seconds, gpus=8) == 35 + 1
    # a job of more GPUs than there are gets all
    assert wall_clock([Job(number=1, rule="train", gpus=8)], seconds, gpus=2) == 10


def test_a_sample_is_counted_with_what_is_read_for_it(world: World) -> None:
    """The small CLIP as in tests/test_costs.py: 4 patches of 16 x 16 x 3, width 64, two blocks."""
    config = world.method("clip_frame", iterations=0)
    width, tokens = 64, 5
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    last = tokens * 2 * width**2 + 10 * width**2 + 2 * tokens * width
    frame = 4 * (16 * 16 * 3) * width + block + last + width * 64
    sample = count_sample(config, ["run", "walk"])
    assert sample.per_frame
    assert sample.train == sample.score == 2 * (frame + 2 * 64)
    assert sample.text == 2 * 2 * (16 * 12 * 32**2 + 2 * 16**2 * 32 + 32 * 64)
    assert (sample.text_step, sample.score_pictures, sample.trained) == (0, 1, 0)


def test_stored_features_are_neither_read_nor_encoded(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    tower = stclip.costs.counted.tower_of("ViT-B-16")
    small = type(tower)(width=64, layers=2, patch=16, num_patches=4, embed=64)
    monkeypatch.setattr(stclip.costs.counted, "tower_of", lambda _: small)
    config = world.method("clip_frame", iterations=0).model_copy(update={"features": ["frames"]})
    sample = count_sample(config, ["run", "walk"])
    assert (sample.score, sample.score_pictures) == (2 * 2 * 64, 0)


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Workload:
    sample = Sample(
        per_frame=True, train=7, score=5, text_step=3, text=11, train_pictures=10,
        score_pictures=2, trained=13,
    )  # fmt: skip
    monkeypatch.setattr(stclip.costs.workload, "count_sample", lambda *_: sample)
    monkeypatch.setattr(stclip.costs.workload, "count_detector", lambda *_: (17, 19))
    return Workload(ROOT / "config", "paper")


def test_work_follows_from_settings_and_published_counts(workload: Workload) -> None:
    train = workload.of("train", WORLD_OF | {"method": "st_clip", "seed": "0"})
    # 3000 steps of 8 frames, the text in every step, three times for the way back
    assert train.operations == 11 + 3000 * (8 * 7 + 3) * 3
    assert (train.precision, train.pictures, train.written) == ("bf16", 3000 * 8 * 10, 13 * 4)
    assert workload.of("train", WORLD_OF | {"method": "clip_frame"}) == Work()
    score = workload.of("score", WORLD_OF | {"method": "st_clip"})
    # split 1: 2651 frames of unseen and 6488 of base classes, detected and true boxes
    assert score.operations == (2651 + 6488) * 2 * 5 + 2 * 11
    assert score.pictures == (2651 + 6488) * 2 * 2
    detect = workload.of("detect", WORLD_OF | {"detector": "fasterrcnn_v2", "part": "all"})
    assert (detect.operations, detect.pictures) == (9139 * 17, 9139)
    tuned = workload.of("finetune", WORLD_OF | {"detector": "fasterrcnn_v2_finetuned"})
    # 10 epochs of every 10th of 15590 frames
    assert tuned.operations == pytest.approx(15590 * 17 * 3)
    objects = workload.of("objects", WORLD_OF | {"objects": "coco_objects"})
    assert objects.operations == 31852 * 17
    assert workload.of("prepare", WORLD_OF).written == 31852 * 240 * 320 * 3
    assert workload.of("evaluate", WORLD_OF) == Work(rows=9139 * 2)
    assert workload.of("splits", WORLD_OF) == Work()


def test_of_several_boxes_a_frame_each_is_counted_once(workload: Workload) -> None:
    of = {"dataset": "ucf101_24", "family": "st-clip", "split": "1"}
    # The annotators counted 555,157 frames, stored as JPEG.
    prepare = workload.of("prepare", of)
    assert (prepare.pictures, prepare.written) == (555157, 555157 * 23800)
    detector = {"detector": "fasterrcnn_v2_finetuned"}
    # Looked at are annotated frames, not boxes: of the test videos, and every tenth of those to
    # train on, ten times.
    assert workload.of("detect", of | detector).pictures == 138527
    assert workload.of("finetune", of | detector).pictures == 234937
    # Split 1: unseen 44,703 frames and 63,358 boxes, base 93,824 and 107,222.
    score = workload.of("score", of | {"method": "st_clip"})
    assert score.operations == (44703 + 93824) * 2 * 5 + 2 * 11
    rows = (63358 + 107222) * 2
    assert score.written == 1_000_000 + rows * (7 + 18) * 4


def test_features_are_of_the_backbone_their_name_says(workload: Workload) -> None:
    jobs = [job for job in dry_run(["results/table2.csv"], "paper") if "features" in job.rule]
    by_table = {j.wildcards.get("table", "").partition("/")[0]: j for j in jobs}
    assert by_table.keys() == {"", "boxes", "detections", "objects"}
    picture = 2 * stclip.costs.workload.encode_picture(
        stclip.costs.workload.tower_of("ViT-B-16"), project=True
    )
    for table, pictures in {"boxes": 31852, "detections": 3 * 9139, "objects": 3 * 31852}.items():
        work = workload.of("box_features", by_table[table].wildcards)
        assert work.operations == pictures * picture
        assert work.precision == "fp32"


def test_a_table_s_row_adds_up() -> None:
    jobs = [
        Job(number=0, rule="prepare", outputs=("p",)),
        Job(number=1, rule="train", outputs=("a",), gpus=2, after=frozenset({0})),
        Job(number=2, rule="score", outputs=("results/b.csv",), gpus=1, after=frozenset({1})),
    ]
    work = {
        "prepare": Work(written=2e9), "train": Work(operations=3.6e15, written=1e9),
        "score": Work(operations=3.6e15, written=0.5e9),
    }  # fmt: skip
    rates = Rates(fp32_tflops=1, start_s=0, light_s=0)
    frame = build_plan(
        jobs, ["results/b.csv", "a"], work_of=lambda rule, _: work[rule], rates=rates
    )
    assert frame["table"].tolist() == ["b", "a", "all"]
    b = frame.loc[0]
    assert (b["jobs"], b["GPU jobs"], b["operations, P"]) == ("3", "2", "7.2")
    assert (b["training h"], b["scoring h"], b["GPU h"]) == ("1.00", "1.00", "2.00")
    assert (b["data GB"], b["runs GB"]) == ("2.00", "1.50")
    # half an hour of two GPUs and an hour of one
    assert b["h on 8 GPUs"] == "1.50"
    assert frame.loc[1, "GPU h"] == "1.00"
    assert frame.loc[2, "jobs"] == "3"


def test_detectors_are_counted_where_they_compute() -> None:
    detectors = Workload(ROOT / "config", "paper").scale.detectors
    assert count_detector("released", detectors["released"]) == (0, 0)
    with pytest.raises(ConfigError, match=r"detectron2_r50_fpn_3x: only torchvision's"):
        count_detector("detectron2_r50_fpn_3x", detectors["detectron2_r50_fpn_3x"])
    small = detectors["fasterrcnn_v2"].model_copy(
        update={"params": {"builder": "stclip.mini.tiny_detector:build"}}
    )
    operations, parameters = count_detector("small", small)
    assert operations > parameters > 0


def test_a_scale_without_published_counts_is_refused() -> None:
    done = command("plan", "results/table2.csv", "--scale", "mini", "--out", "plan.csv")
    assert done.returncode == 1
    assert "scale mini: no published counts" in done.stderr
    with pytest.raises(ConfigError, match=r"results/table99\.csv"):
        dry_run(["results/table99.csv"], "paper")


def test_the_committed_plan_is_of_the_jobs_that_there_are() -> None:
    """`make plan` counts it anew."""
    plan = pd.read_csv(PLAN, dtype=str).set_index("table")
    tables = (ROOT / "config" / "tables").glob("*.yaml")
    names = sorted(path.stem for path in tables if read_yaml(path).get("of_paper", True))
    assert set(plan.index) == {*names, "ablations", "all"}
    targets = [*(f"results/{name}.csv" for name in names), "ablations"]
    jobs = dry_run(targets, "paper")
    numbered = {job.number: job for job in jobs}
    for name, target in zip([*names, "ablations"], targets, strict=True):
        part = behind(numbered, target)
        assert plan.loc[name, "jobs"] == str(len(part)), name
        assert plan.loc[name, "GPU jobs"] == str(sum(job.gpus > 0 for job in part)), name
    assert plan.loc["all", "jobs"] == str(len(jobs))
