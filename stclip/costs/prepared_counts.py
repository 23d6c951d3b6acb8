"""Counts of a prepared data set, in the form of those that are published: what there is to do.

Of tested clips only key frames and the boxes on them count, as nothing else is looked at.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from stclip.records import Boxes, Clips, KeyFrames, LabelSplit

Group = list[int]  # videos, boxes, frames with work


def prepared_counts(folder: Path, *, family: str) -> dict[str, Any]:
    """Count what lies in `data/{scale}/{dataset}`; `family`: of the label splits that are counted.

    Returns:
        `frames`, the groups `all` and `test`, and by split those of `train`, `unseen` and `base`:
        videos, boxes, annotated frames (of training clips) or key frames (of tested ones).

    Raises:
        DataError: a file is missing or damaged.
    """
    clips = Clips.read(folder / "clips.parquet").table
    boxes = Boxes.read(folder / "boxes.parquet").table
    keys = KeyFrames.read(folder / "key_frames.parquet")
    worked = boxes["clip"][keys.contain(boxes)]

    def group(names: Collection[str]) -> Group:
        of_them = (worked.isin(names), keys.table["clip"].isin(names))
        return [len(names), *(int(each.sum()) for each in of_them)]

    def groups(split: LabelSplit) -> dict[str, Group]:
        named = {"train": split.train_clips, "unseen": split.unseen_clips, "base": split.base_clips}
        return {name: group(names) for name, names in named.items()}

    splits = [LabelSplit.read(path) for path in sorted((folder / "splits" / family).glob("*.json"))]
    return {
        "frames": int(clips["num_frames"].sum()),
        "all": group({*clips["clip"]}),
        "test": group({*keys.tested["clip"]}),
        "splits": {split.name: groups(split) for split in splits},
    }
