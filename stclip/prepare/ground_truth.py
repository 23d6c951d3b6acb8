"""Ground truth without pictures, in the formats that data sets publish it in; told by content."""

import inspect
import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.config.target import call_target
from stclip.errors import ConfigError, DataError
from stclip.prepare import gttubes, pyannot
from stclip.records import Boxes, Clips
from stclip.storage.outside_files import content_of, parse_value

logger = logging.getLogger(__name__)

TEST_LIST = "testlist01.txt"


def load_ground_truth(path: Path) -> tuple[Clips, Boxes]:
    """Clips and boxes of a file of tubes (JHMDB-GT.pkl) or of pyannot.pkl, or of their JSON.

    pyannot.pkl does not say which videos are tested: testlist01.txt is read beside it. Frame counts
    are those of the file; what it does not tell of the videos is 0.

    Raises:
        DataError: the file is missing, damaged or of another kind, or a list that it needs is.
    """
    data = parse_value(content_of(path), path)
    if not isinstance(data, dict) or not data:
        raise DataError(f"{path}: expected a dict of ground truth, found {type(data).__name__}.")
    if {"gttubes", "labels"} & data.keys():
        return gttubes.read_tubes(gttubes.check_keys(data, path), licence="", fps=0, where=path)
    if set(pyannot.KEYS) <= data.keys() or _is_pyannot(data):
        return _read_pyannot(data, path)
    keys = sorted(map(str, data))
    raise DataError(
        f"{path}: unknown ground truth with keys {keys[:6]}; accepted are a dict of "
        f"{list(gttubes.KEYS)}, one of {list(pyannot.KEYS)}, and the latter's db alone."
    )


def ground_truth_of(
    folder: Path, target: str, params: Mapping[str, Any], *, where: str
) -> tuple[tuple[Clips, Boxes], dict[str, int]]:
    """Clips, boxes and, apart, own counts of a folder of annotations, by the preparing module.

    Args:
        folder: of the files as published.
        target: of the data set's form; `ground_truth` of its module is called.
        params: of the data set; those that it takes are passed on.
        where: for messages.

    Raises:
        ConfigError: the module has no such function.
        DataError: as it says.
    """
    module = target.partition(":")[0]
    reader = getattr(import_module(module), "ground_truth", None)
    if reader is None:
        raise ConfigError(
            f"{folder}: is a folder, and {module} reads no annotations without their pictures; "
            "give a file, or prepare the data set and leave --ground-truth out."
        )
    taken = inspect.signature(reader).parameters
    own = {name: value for name, value in params.items() if name in taken}
    return call_target(f"{module}:ground_truth", folder, params=own, where=where)


def _is_pyannot(data: dict[Any, Any]) -> bool:
    first = next(iter(data.values()))
    return isinstance(first, dict) and {"numf", "annotations"} <= first.keys()


def _read_pyannot(data: dict[str, Any], path: Path) -> tuple[Clips, Boxes]:
    annotations = pyannot.read_annotations(data, path)
    if annotations.train is None:
        listing = path.with_name(TEST_LIST)
        if not listing.is_file():
            raise DataError(
                f"{path}: does not say which videos are tested; put {TEST_LIST} of the same source "
                "beside it."
            )
        listed = pyannot.read_test_list(content_of(listing), listing)
        official = pyannot.official_splits(annotations.videos, listed, side="test", where=listing)
    else:
        official = pyannot.official_splits(
            annotations.videos, annotations.train, side="train", where=path
        )
    videos = annotations.videos.values()
    clips = pd.DataFrame(
        {
            "clip": [video.clip for video in videos],
            "official_split": [official[video.folder] for video in videos],
            "num_frames": [video.num_frames for video in videos],
            "actions": [[video.action] for video in videos],
        }
    )
    clips = clips.assign(height=0, width=0, fps=0, licence="")
    return Clips(clips), pyannot.boxes_table(videos)
