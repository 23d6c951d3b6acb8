"""Compares a prepared data set with its published counts; pure, and the same for every data set.

Counts are a flat mapping from what is counted ("class clap, test: videos") to its number, so that
published and found ones are compared key by key and each difference names itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stclip.errors import ConfigError
from stclip.records import Boxes, Clips, LabelSplit
from stclip.splits.label_splits import select_clips

Counts = dict[str, int]


@dataclass(frozen=True)
class Published:
    """Published counts and a remark on them."""

    counts: Counts
    note: str


@dataclass(frozen=True)
class Difference:
    """A count that differs; None where one side does not have it at all."""

    what: str
    published: int | None
    found: int | None


def count(
    clips: Clips, boxes: Boxes, splits: Sequence[LabelSplit], *, test_split: str = "test"
) -> Counts:
    """Videos and boxes: in all, by official split, by class and by what each label split selects.

    A video (box) with several actions counts for each of its classes.
    """
    table = clips.table
    num_boxes = boxes.table["clip"].value_counts()
    official = table.set_index("clip")["official_split"]
    counts = {"frames": int(table["num_frames"].sum())}

    def add(what: str, names: pd.Series) -> None:
        counts[f"{what}: videos"] = len(names)
        counts[f"{what}: boxes"] = int(num_boxes.reindex(names, fill_value=0).sum())

    sides = sorted(official.unique())
    add("all", table["clip"])
    for side in sides:
        add(side, table.loc[table["official_split"] == side, "clip"])
    videos = table.explode("actions")
    of_boxes = boxes.table[["clip", "actions"]].explode("actions")
    of_boxes["side"] = of_boxes["clip"].map(official)
    for action in sorted({*videos["actions"], *of_boxes["actions"]}):
        mine, its_boxes = videos[videos["actions"] == action], of_boxes["actions"] == action
        for side in ("all", *sides):
            chosen = mine if side == "all" else mine[mine["official_split"] == side]
            within = its_boxes if side == "all" else its_boxes & (of_boxes["side"] == side)
            counts[f"class {action}, {side}: videos"] = len(chosen)
            counts[f"class {action}, {side}: boxes"] = int(within.sum())
    for split in splits:
        for group, names in select_clips(split, clips, test_split=test_split).items():
            add(f"label split {split.name}, {group}", pd.Series(names, dtype="str"))
    strangers = set(num_boxes.index) - set(table["clip"])
    if strangers:
        counts["boxes of videos that are not listed"] = int(num_boxes[sorted(strangers)].sum())
    return counts


def published_counts(content: Mapping[str, Any], where: str) -> Published:
    """Counts of a YAML: `frames`, sides, `classes` and `splits`, each side [videos, boxes].

    Raises:
        ConfigError: the mapping is not built like that.
    """
    counts: Counts = {}

    def add(what: str, pair: Any) -> None:
        fits = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
        if not fits:
            raise ConfigError(f"{where}: {what}: expected [videos, boxes], found {pair!r}.")
        counts[f"{what}: videos"], counts[f"{what}: boxes"] = pair

    sections = {"classes": "class", "splits": "label split"}
    for key, value in content.items():
        if key == "frames" and type(value) is int:
            counts["frames"] = value
        elif key in sections and isinstance(value, Mapping):
            for name, sides in value.items():
                if not isinstance(sides, Mapping):
                    raise ConfigError(
                        f"{where}: {key}.{name}: expected a mapping, found {sides!r}."
                    )
                for side, pair in sides.items():
                    add(f"{sections[key]} {name}, {side}", pair)
        elif key != "note":
            add(str(key), value)
    return Published(counts, str(content.get("note", "")).strip())


def differences(published: Counts, found: Counts) -> list[Difference]:
    """What differs, in the published order, then what only was found.

    A count of 0 that the other side does not mention is no difference.
    """
    keys = [*published, *(key for key in found if key not in published)]
    return [
        Difference(key, published.get(key), found.get(key))
        for key in keys
        if published.get(key, 0) != found.get(key, 0)
    ]
