"""ZS-UCF from the drawn archive to Table 3 and Figures 6 and 7, on a cut-down miniature."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_project import edit, make_project, snakemake

from stclip.records import Boxes, KeyFrames
from stclip.report.label_features import COLOURS
from stclip.report.lettering import WRONG
from stclip.report.unannotated import ANNOTATED

TARGETS = [
    *("results/table3.csv", "results/table18.csv"),
    *("results/mini/figure7.png", "results/mini/figure6_ucf.png"),
]
CHOSEN = ["--config", "datasets=[ucf101_24]"]
DATA = Path("data/mini/ucf101_24")
RUN = Path("runs/mini/ucf101_24/st-clip/1/st_clip/0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("ucf"))
    methods = {"methods": ["clip_frame", "st_clip"]}
    edit(project / "config" / "config.yaml", lambda c: c.update(methods))
    steps = {"iterations": 10, "checkpoint_every": 5}

    def train(scale: dict[str, Any]) -> None:
        scale["methods"]["st_clip"]["train"].update(steps)
        # enough to find an annotated person, and somebody else
        scale["miniature"]["detectors"]["tiny_many"]["steps"] = 50

    edit(project / "config" / "scales" / "mini.yaml", train)
    done = snakemake(project, *TARGETS, *CHOSEN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return project


def test_tables_have_their_rows_and_say_their_protocol(project: Path) -> None:
    on_detected, on_truth = (pd.read_csv(project / name, dtype=str) for name in TARGETS[:2])
    for table in (on_detected, on_truth):
        rows = list(zip(table["method"], table["assumption"], strict=True))
        assert rows == [
            ("CLIP (baseline)", "independent"),
            ("ST-CLIP", "independent"),
            ("ST-CLIP", "voted"),
        ]
        assert set(table["benchmark"]) == {"mini-zs-ucf/st-clip@1"}
        assert (table != "-").all(axis=None)
    # Table 18 is Table 3 on ground-truth boxes.
    assert on_truth["avg"].tolist() == on_detected["avg*"].tolist()


def test_key_frames_are_every_tenth_annotated_frame_of_several_persons(project: Path) -> None:
    boxes = Boxes.read(project / DATA / "boxes.parquet").table
    tested = KeyFrames.read(project / DATA / "key_frames.parquet").tested
    clips = pd.read_parquet(project / DATA / "clips.parquet").set_index("clip")
    of_test = boxes[boxes["clip"].map(clips["official_split"]) == "test"]
    wanted = {(c, f) for c, f in zip(of_test["clip"], of_test["frame"], strict=True) if f % 10 == 0}
    assert set(zip(tested["clip"], tested["frame"], strict=True)) == wanted
    counts = boxes.groupby(["clip", "frame"]).size()
    assert counts.max() >= 2
    # Some videos have frames that nobody annotates.
    annotated = boxes.groupby("clip")["frame"].nunique()
    assert (annotated < clips["num_frames"].reindex(annotated.index)).any()


def test_every_person_of_a_frame_is_trained_on_and_scored(project: Path) -> None:
    scores = pd.read_parquet(project / RUN / "scores_gt_unseen.parquet")
    assert scores.groupby(["clip", "frame"]).size().max() >= 2
    log = (project / "logs/train" / RUN.relative_to("runs").with_suffix(".log")).read_text()
    boxes, samples = (
        int(re.search(pattern, log)[1])  # type: ignore[index]
        for pattern in (r"boxes: (\d+) ground_truth", r"train: (\d+) samples")
    )
    assert boxes > samples  # a sample is a key frame with all its persons


def test_the_figure_shows_an_annotated_person_and_a_box_of_nobody(project: Path) -> None:
    picture = np.asarray(Image.open(project / TARGETS[2]).convert("RGB"))
    for colour in (ANNOTATED, WRONG):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == wanted).all(2).sum() > 100, colour


def test_the_figure_of_labels_is_drawn_from_the_run_s_weights(project: Path) -> None:
    log = (project / "logs/figure/mini/figure6_ucf.log").read_text()
    labels = json.loads((project / DATA / "splits/st-clip/1.json").read_text())["unseen"]
    shown = re.search(r"split 1, (\d+) of (\d+) annotated persons of (\d+) labels", log)
    assert shown is not None
    assert int(shown[1]) == min(60, int(shown[2]))
    assert int(shown[3]) == len(labels)
    picture = np.asarray(Image.open(project / TARGETS[3]).convert("RGB"))
    for colour in COLOURS[: len(labels)]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == wanted).all(2).sum() > 100, colour


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    done = snakemake(project, "-n", *TARGETS, *CHOSEN)
    assert "Nothing to be done" in done.stdout + done.stderr
