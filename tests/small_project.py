"""The pipeline on a cut-down miniature: few videos, one split, few steps, and a method more."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from forks import forked, plain

from stclip.mini.ava_archives import film_names

TABLE, PAGE = "results/table2.csv", "results/mini/report.html"
DETECTORS = "results/detectors.csv"
RUN = "runs/mini/jhmdb/st-clip/1"  # the folder of a split's runs
TOY = Path(__file__).parent / "toy"  # a second data set

FEW_FILMS = {"train_films": 6, "val_films": 4}

DUMMY_MODULE = '''
"""A video-level method: the mean CLIP feature of four frames; everyone gets the clip's scores."""

from torch.nn import functional as F

from dummy_method_config import ClipMeanConfig
from stclip.inputs.batch import Inputs, pixels_of
from stclip.methods.contract import Method


class ClipMean(Method):
    Config = ClipMeanConfig

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.inputs = Inputs(unit="clip", num_frames=config.num_frames)

    def logits(self, batch, text):
        patches = self.backbone.patches(pixels_of(batch.pictures)[batch.frames.flatten()])
        features = self.backbone.project(self.backbone.encode(patches))
        clips = features.unflatten(0, batch.frames.shape).mean(1)
        return 100 * F.normalize(clips, dim=-1) @ F.normalize(text, dim=-1).T
'''
# Apart, as docs/add-a-method.md has it: whatever reads the method's YAML does without PyTorch.
DUMMY_SETTINGS = """
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClipMeanConfig:
    num_frames: int = 4
"""
DUMMY_CONFIG = {
    "title": "Mean of frames",
    "target": "dummy_method:ClipMean",
    "order": 50,
    "assumptions": ["voted"],
    "backbone": "ViT-B-16",
    "train": {"iterations": 0},
}


def edit(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def copy_project(folder: Path) -> Path:
    """A copy of what a clone has, as far as Snakemake reads it."""
    for name in ("config", "splits", "workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def make_project(folder: Path) -> Path:
    """A copy with a smaller mini scale, one method added by two files, and a second data set."""
    copy_project(folder)

    def shrink(scale: dict) -> None:  # type: ignore[type-arg]
        scale["miniature"]["render"]["jhmdb"]["params"] |= {"train_videos": 1, "test_videos": 2}
        for detector, steps in {"tiny_detector": 12, "tiny_many": 12, "tiny_films": 12}.items():
            scale["miniature"]["detectors"][detector]["steps"] = steps
        scale["detectors"]["tiny_finetuned"]["finetune"]["epochs"] = 1
        scale["miniature"]["render"]["ucf101_24"]["params"] |= {"train_videos": 1, "test_videos": 1}
        scale["detectors"]["tiny_many_finetuned"]["finetune"]["epochs"] = 1
        scale["miniature"]["render"]["ava"]["params"] |= FEW_FILMS | {"seconds": 12}
        scale["datasets"]["ava"]["key_frames"] |= {"last": 9}
        for dataset in ("jhmdb", "ucf101_24", "ava"):
            scale["datasets"][dataset] |= {"splits": ["1"]}
        steps = {"iterations": 40, "checkpoint_every": 5}
        scale["methods"]["st_clip"]["train"] |= steps
        scale["methods"]["st_clip"]["datasets"] = {"toy": {"train": {"iterations": 5}}}

    edit(folder / "config" / "scales" / "mini.yaml", shrink)
    films = folder / "config" / "datasets" / "ava_mini_films.txt"
    films.write_text("".join(f"{name}\n" for name in film_names(**FEW_FILMS)))
    methods = ["clip_frame", "st_clip", "dummy"]  # of each kind one: more take only longer
    chosen = {"methods": methods, "datasets": ["jhmdb"]}
    edit(folder / "config" / "config.yaml", lambda c: c.update(chosen))
    (folder / "dummy_method.py").write_text(DUMMY_MODULE)
    (folder / "dummy_method_config.py").write_text(DUMMY_SETTINGS)
    (folder / "config" / "methods" / "dummy.yaml").write_text(yaml.safe_dump(DUMMY_CONFIG))
    add_toy(folder)
    return folder


def add_toy(folder: Path) -> None:
    """A second data set: a YAML, a module, a label split, and its source; and a table of it."""
    for name, place in {
        "dataset.yaml": "config/datasets/toy.yaml",
        "table.yaml": "config/tables/toy.yaml",
        "split.json": "splits/toy/own/a.json",
        "toy_data.py": "toy_data.py",
        "videos.csv": "toy/videos.csv",
        "excluded.csv": "toy/excluded.csv",
    }.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOY / name, folder / place)


def environment(project: Path) -> dict[str, str]:
    """Commands import for themselves: the dummy method, and the package of this checkout."""
    return plain(project)


def run_in(project: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command whose `stclip` and `snakemake` are forks; `settings`: environment variables."""
    return subprocess.run(
        command, cwd=project, env=forked(project) | settings, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip


def snakemake(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `make table2` runs it: PyTorch is imported once."""
    return run_in(project, "snakemake", "--cores", "2", *arguments)


def checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """One that ended well."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done


def make_finished(folder: Path) -> Path:
    """`make_project` with `TABLE` and `PAGE` made."""
    folder.mkdir()
    checked(snakemake(make_project(folder), TABLE, PAGE))
    return folder


def copy_of_finished(factory: pytest.TempPathFactory, name: str) -> Path:
    """A copy of one that is made once for all processes of tests."""
    base = factory.getbasetemp()
    finished = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with finished.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (finished / PAGE).exists():
            shutil.rmtree(finished, ignore_errors=True)
            make_finished(finished)
    return Path(shutil.copytree(finished, factory.mktemp(name) / "project"))


def unlock(project: Path) -> None:
    """What `make table2` does before it starts snakemake."""
    command = ["make", "--file", str(ROOT / "Makefile"), "unlock"]
    subprocess.run(command, cwd=project, env=environment(project), check=True, capture_output=True)


def planned(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Jobs of a dry run by rule, from its job statistics."""
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {}
    for line in (done.stdout + done.stderr).splitlines():
        name, _, count = line.strip().rpartition(" ")
        if count.isdigit() and name.strip().isidentifier():
            jobs[name.strip()] = int(count)
    return jobs
