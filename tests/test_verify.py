"""Published counts against the real ground truth, against the prepared tables, and spoiled ones."""

import copy
import gzip
import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from typer.testing import CliRunner

from stclip.cli import app
from stclip.config import read_yaml
from stclip.errors import ConfigError
from stclip.prepare.counts import Difference, count, differences, published_counts
from stclip.prepare.ground_truth import load_ground_truth
from stclip.prepare.gttubes import parse_tubes, read_tubes
from stclip.records import LabelSplit
from stclip.storage.outside_files import content_of

COUNTS = ROOT / "config" / "published" / "jhmdb_counts.yaml"
TRUTH = Path(__file__).parents[2] / "shared" / "data" / "j-hmdb" / "JHMDB-GT.json.gz"
real = pytest.mark.skipif(not TRUTH.is_file(), reason=f"the real annotations are not at {TRUTH}")
VIDEO = "clap/The_Slow_Clap_clap_u_cm_np1_fr_med_4"  # a test video of 33 frames


@cache
def _truth() -> dict[str, Any]:
    return parse_tubes(content_of(TRUTH), TRUTH)


def truth() -> dict[str, Any]:
    return copy.deepcopy(_truth())


def verify(*arguments: str, dataset: str = "jhmdb") -> tuple[int, str]:
    """Exit status and what was printed, without the columns' padding."""
    folders = ["--config", str(ROOT / "config"), "--splits", str(ROOT / "splits")]
    done = CliRunner().invoke(app, ["data", "verify", dataset, *folders, *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.stdout.replace("|", " ").split())


def written(data: dict[str, Any], folder: Path) -> str:
    path = folder / "JHMDB-GT.json"
    path.write_text(json.dumps(data))
    return str(path)


@real
def test_the_real_ground_truth_has_the_published_counts() -> None:
    status, printed = verify("--ground-truth", str(TRUTH))
    assert status == 0
    # frames, 3 x 2 totals, 21 classes x 3 x 2, 4 splits x 3 x 2
    assert "All 157 counts agree." in printed
    assert "31,838 frames" in printed
    assert "31,852 boxes" in printed


@real
def test_the_real_ground_truth_as_a_pickle(tmp_path: Path) -> None:
    data = truth()
    data["gttubes"] = {
        video: {int(k): [np.array(t, np.float32) for t in tubes] for k, tubes in of_label.items()}
        for video, of_label in data["gttubes"].items()
    }
    path = tmp_path / "JHMDB-GT.pkl"
    path.write_bytes(pickle.dumps(data, 2))
    assert verify("--ground-truth", str(path))[0] == 0


@real
def test_prepared_tables_have_the_published_counts(tmp_path: Path) -> None:
    clips, boxes = read_tubes(truth(), licence="", fps=30)
    clips.write(tmp_path / "clips.parquet")
    boxes.write(tmp_path / "boxes.parquet")
    tables = [f"--{t}={tmp_path / t}.parquet" for t in ("clips", "boxes")]
    assert verify(*tables)[0] == 0
    # Frames count from 0, corners are kept, one tube of one action a video.
    rows = boxes.table[boxes.table["clip"] == VIDEO.split("/")[1]]
    assert rows["frame"].tolist() == list(range(33))
    expected = [row[1:] for row in truth()["gttubes"][VIDEO]["2"][0]]
    assert rows[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == expected
    assert set(boxes.table["tube"]) == {0}


def _without_video(data: dict[str, Any]) -> None:
    data["test_videos"][0].remove(VIDEO)


def _without_box(data: dict[str, Any]) -> None:
    data["gttubes"][VIDEO]["2"][0].pop()


def _renamed(data: dict[str, Any]) -> None:
    data["labels"][2] = "applaud"


# What each removes: numbers of the video's class, its side and the label splits it counts for.
SPOILED: dict[str, tuple[Callable[[dict[str, Any]], None], list[str], int]] = {
    "video": (
        _without_video,
        [
            "frames 31,852 31,819",
            "all: videos 928 927",
            "test: boxes 9,139 9,106",
            "class clap, test: videos 13 12",
            "label split 1, unseen: boxes 2,651 2,618",
            "label split 2, base: videos 195 194",
            "label split 4, unseen: videos 76 75",
        ],
        # frames; 2 each: all, test, class all, class test, unseen of 1 and 4, base of 2 and 3
        1 + 2 * 8,
    ),
    "box": (
        _without_box,
        [
            "all: boxes 31,852 31,851",
            "class clap, all: boxes 1,664 1,663",
            "label split 3, base: boxes 6,549 6,548",
        ],
        8,
    ),
    "class": (
        _renamed,
        [
            "class clap, all: videos 44 -",
            "class clap, train: boxes 1,180 -",
            "class applaud, all: videos - 44",
            "class applaud, test: boxes - 484",
            "label split 1, unseen: videos 78 65",
            "label split 2, train: videos 486 455",
        ],
        # 6 of each name; 2 each: unseen of 1 and 4, train and base of 2 and 3
        6 + 6 + 2 * 6,
    ),
}


@real
@pytest.mark.parametrize("name", SPOILED)
def test_every_difference_is_printed_and_the_exit_status_is_1(name: str, tmp_path: Path) -> None:
    spoil, lines, number = SPOILED[name]
    data = truth()
    spoil(data)
    status, printed = verify("--ground-truth", written(data, tmp_path))
    assert status == 1
    for line in lines:
        assert line in printed
    assert f"{number} counts differ; 157 are published." in printed


@real
def test_a_box_of_an_unlisted_video_is_a_difference() -> None:
    clips, boxes = read_tubes(truth(), licence="", fps=30)
    fewer = type(clips)(clips.table[clips.table["clip"] != VIDEO.split("/")[1]])
    splits = [LabelSplit.read(ROOT / "splits/jhmdb/st-clip" / f"{n}.json") for n in "1234"]
    assert count(fewer, boxes, splits)["boxes of videos that are not listed"] == 33


def test_missing_tables_are_named(tmp_path: Path) -> None:
    from stclip.errors import DataError

    with pytest.raises(DataError, match=r"clips\.parquet: no such file; run the stage"):
        verify("--clips", str(tmp_path / "clips.parquet"))


def test_differences_go_both_ways() -> None:
    assert differences({"a": 1, "b": 2, "zero": 0}, {"b": 3, "c": 4, "none": 0}) == [
        Difference("a", 1, None),
        Difference("b", 2, 3),
        Difference("c", None, 4),
    ]


def test_published_counts_add_up() -> None:
    counts = published_counts(read_yaml(COUNTS), "counts").counts
    for side in ("all", "train", "test"):
        for unit in ("videos", "boxes"):
            classes = [
                n for k, n in counts.items() if k.endswith(f", {side}: {unit}") and "cl" in k
            ]
            assert sum(classes) == counts[f"{side}: {unit}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"all": []}, r"all: expected \['videos'\] or \['videos', 'boxes'\] or .*\], found \[\]"),
        ({"all": [1, 2], "test": [1, 2, 1]}, r"test: expected \['videos', 'boxes'\], found \[1, 2"),
        ({"frames": "many"}, "frames: expected"),
        ({"classes": {"clap": [1, 2]}}, r"classes\.clap: expected a mapping"),
        ({"splits": {"1": {"train": [1, True]}}}, "label split 1, train: expected"),
    ],
)
def test_damaged_published_counts_are_named(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"counts.yaml: {problem}"):
        published_counts(content, "counts.yaml")


def test_damaged_ground_truth_is_named(tmp_path: Path) -> None:
    from stclip.errors import DataError

    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'{"labels": []}')[:-9])
    with pytest.raises(DataError, match=r"a\.json\.gz: damaged"):
        load_ground_truth(path)
    path.write_bytes(gzip.compress(b'{"labels": []}'))
    with pytest.raises(DataError, match=r"a\.json\.gz: expected a dict of .* missing \['gttubes'"):
        load_ground_truth(path)
