"""Key frames: mistakes in their settings, and in files of seconds that count on neither side."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from stclip.config import EveryFrames, KeyFrameRule, Seconds
from stclip.errors import DataError
from stclip.records import Boxes, Clips
from stclip.splits.key_frames import make_key_frames, read_excluded


def test_lines_of_excluded_seconds_have_two_fields(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    for content in ("v,soon\n", "v\n", "v,0903,1\n"):
        path.write_text(content)
        with pytest.raises(DataError, match=r"out\.csv: expected lines `video,second`"):
            read_excluded(path)


def test_an_empty_file_excludes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("")
    about = [("v", "val", 99, 48, 64, 29.97, "none", ["run"])]
    clips = Clips(pd.DataFrame(about, columns=list(Clips.COLUMNS)))
    boxes = Boxes(pd.DataFrame(columns=list(Boxes.COLUMNS)))
    excluded = read_excluded(tmp_path / "out.csv")
    found = make_key_frames(
        Seconds(rule="seconds", first=1, last=9), clips=clips, boxes=boxes, test_split="val",
        excluded=excluded,
    )  # fmt: skip
    # 29.97 frames a second: 29.97, 59.94, 89.91 are rounded
    assert found.table[["frame", "number"]].to_numpy().tolist() == [[30, 1], [60, 2], [90, 3]]


def test_rules_of_the_settings_are_checked() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(KeyFrameRule)
    assert adapter.validate_python({"rule": "every"}) == EveryFrames(rule="every", frames=1)
    for content, message in (
        ({"rule": "every", "frames": 0}, "greater than or equal to 1"),
        ({"rule": "annotated", "frames": 5}, "Extra inputs"),
        ({"rule": "seconds", "first": 5, "last": 4}, r"first 5 <= last 4 fails"),
        ({"rule": "seconds", "start": 9, "first": 5, "last": 6}, r"start 9\.0 <= first 5"),
        ({"rule": "each"}, "does not match any of the expected tags"),
    ):
        with pytest.raises(ValidationError, match=message):
            adapter.validate_python(content)
