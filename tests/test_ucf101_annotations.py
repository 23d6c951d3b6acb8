"""The corrected annotations of UCF101-24 themselves: their counts, types and lists; no pixels."""

import gzip
import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from outside_annotations import SHARED, needs_data
from test_verify import verify
from ucf101_files import ONE, THREE, Raw

from stclip.config import load_dataset, read_yaml
from stclip.errors import DataError
from stclip.prepare.counts import published_counts
from stclip.prepare.ground_truth import load_ground_truth
from stclip.prepare.pyannot import read_annotations
from stclip.records import BOX_COLUMNS
from stclip.storage.files import digest

COUNTS = ROOT / "config" / "published" / "ucf101_24_counts.yaml"
TRUTH = SHARED / "ucf101-24" / "pyannot.json.gz"
TEST_LIST = SHARED / "ucf101-24" / "testlist01.txt"


@cache
def real() -> dict[str, Any]:
    return json.loads(gzip.decompress(TRUTH.read_bytes()))


@needs_data
def test_the_real_annotations_have_the_published_counts() -> None:
    status, printed = verify("--ground-truth", str(TRUTH), dataset="ucf101_24")
    assert status == 0
    # frames; of 3 totals, 24 classes x 3, 4 splits x 3: videos, boxes, annotated frames
    assert f"All {1 + 3 * (3 + 72 + 12)} counts agree." in printed
    assert "3,194 are annotated" in printed
    assert "v_LongJump_g07_c04" in printed


@needs_data
def test_the_real_annotations_in_their_own_types(tmp_path: Path) -> None:
    """pyannot.pkl has the videos alone, in uint8 and uint16, and the list beside it."""
    db, run_over = {}, 0
    for name, video in real()["db"].items():
        tubes = []
        for tube in video["annotations"]:
            boxes = np.array(tube["boxes"])
            small = boxes.astype(np.uint8 if boxes.max() < 256 else np.uint16)
            run_over += int((small[:, 0] + small[:, 2] != boxes[:, 0] + boxes[:, 2]).sum())
            tubes.append(tube | {"boxes": small})
        db[name] = {"numf": np.min_scalar_type(video["numf"]).type(video["numf"])} | {
            "label": video["label"],
            "annotations": tubes,
        }
    assert run_over == 60_072
    found = read_annotations(db, "pyannot.pkl")
    assert len(found.videos) == 3_194
    for name, video in found.videos.items():
        for tube, published in zip(video.tubes, real()["db"][name]["annotations"], strict=True):
            x, y, width, height = np.array(published["boxes"]).T
            expected = np.stack([x - 1, y - 1, x - 1 + width, y - 1 + height], axis=1)
            assert np.array_equal(tube.boxes_xyxy, expected)
    assert max(t.boxes_xyxy.max() for v in found.videos.values() for t in v.tubes) == 319


@needs_data
def test_the_list_of_test_videos_is_the_one_that_is_downloaded() -> None:
    config = load_dataset(ROOT / "config", "ucf101_24", scale="paper")
    assert config.archives["testlist01.txt"].sha256 == digest(TEST_LIST)
    assert len(TEST_LIST.read_text().splitlines()) == 910


def test_annotations_with_and_without_names_of_classes_are_alike(tmp_path: Path) -> None:
    raw = Raw()
    raw.beside(tmp_path)
    clips, boxes = load_ground_truth(tmp_path / "pyannot.pkl")
    assert clips.table["official_split"].tolist() == ["test", "train", "test", "train"]
    assert clips.table["num_frames"].tolist() == [9, 8, 12, 10]
    train = [name for name in raw.annotations if name not in raw.tested]
    named = {"db": raw.annotations, "classes": ["Biking", "Diving"], "trainvideos": train}
    path = tmp_path / "named" / "pyannot_with_class_names.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(named, 2))
    others = load_ground_truth(path)
    assert others[0].content() == clips.content()
    assert others[1].content() == boxes.content()
    first = boxes.table.iloc[2]
    assert first[["frame", "tube", *BOX_COLUMNS]].tolist() == [2, 0, 199, 4, 299, 24]


def test_annotations_without_a_list_of_test_videos(tmp_path: Path) -> None:
    (Raw().beside(tmp_path) / "testlist01.txt").unlink()
    with pytest.raises(DataError, match=r"pyannot\.pkl: does not say .*; put testlist01\.txt of"):
        load_ground_truth(tmp_path / "pyannot.pkl")


def test_a_list_of_avi_files(tmp_path: Path) -> None:
    """As the official list of UCF101 has them."""
    Raw(tested=[f"{ONE}.avi", f"{THREE}.avi", ""]).beside(tmp_path)
    clips, _ = load_ground_truth(tmp_path / "pyannot.pkl")
    assert clips.table["official_split"].tolist() == ["test", "train", "test", "train"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"images": [], "annotations": []}, r"unknown ground truth with keys \['annotations', 'im"),
        ([1], "expected a dict of ground truth, found list"),
        ({}, "expected a dict of ground truth"),
        ({"db": {}, "classes": [], "trainvideos": []}, "has no videos"),
        ({"labels": [], "gttubes": {}}, r"expected a dict of .* missing \['nframes', 'resol"),
    ],
)
def test_other_files_are_refused(content: Any, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"truth\.json: {problem}"):
        load_ground_truth(path)


def test_published_counts_add_up() -> None:
    published = published_counts(read_yaml(COUNTS), "counts")
    assert published.units == ("videos", "boxes", "annotated frames")
    for unit in published.units:
        totals = {side: published.counts[f"{side}: {unit}"] for side in ("all", "train", "test")}
        assert totals["all"] == totals["train"] + totals["test"]
        for side, total in totals.items():
            of_classes = [
                number
                for what, number in published.counts.items()
                if what.startswith("class ") and what.endswith(f", {side}: {unit}")
            ]
            assert len(of_classes) == 24
            assert sum(of_classes) == total
        for split in "1234":  # a video shows one class: it is tested on one side
            sides = [
                published.counts[f"label split {split}, {s}: {unit}"] for s in ("unseen", "base")
            ]
            assert sum(sides) == totals["test"]
        unseen = (published.counts[f"label split {split}, unseen: {unit}"] for split in "1234")
        assert sum(unseen) == totals["test"]  # the splits part the classes


def test_the_settings_of_the_data_set_resolve() -> None:
    config = load_dataset(ROOT / "config", "ucf101_24", scale="paper")
    assert config.target == "stclip.prepare.ucf101_24:prepare"
    assert list(config.archives) == [
        config.params[key] for key in ("videos", "annotations", "test_list")
    ]
    assert (config.frame_store, config.key_frames.rule) == ("jpeg", "annotated")
