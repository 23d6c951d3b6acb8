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


COUNTS_FILE = "counts.json"  # what a data set counts itself, beside clips.parquet
UNITS = ("videos", "boxes", "annotated frames")  # what is counted of each group, in this order


@dataclass(frozen=True)
class Published:
    """Published counts and a remark on them; `units`: which of `UNITS` they count."""

    counts: Counts
    note: str
    units: tuple[str, ...] = UNITS[:2]

    def comparable(self, found: Counts, *, own: Counts) -> Counts:
        """What was found of the kinds that are published; of the data set's `own` what is named."""
        kinds = {_kind(what) for what in self.counts}
        counted = {what: number for what, number in found.items() if _kind(what) in kinds}
        return counted | {what: own[what] for what in self.counts if what in own}


@dataclass(frozen=True)
class Difference:
    """A count that differs; None where one side does not have it at all."""

    what: str
    published: int | None
    found: int | None


def count(
    clips: Clips,
    boxes: Boxes,
    splits: Sequence[LabelSplit],
    *,
    test_split: str = "test",
    units: Sequence[str] = UNITS[:2],
) -> Counts:
    """The `units` in all, by official split, by class and by what each label split selects.

    A video (box, annotated frame) with several actions counts for each of its classes.
    """
    table = clips.table
    official = table.set_index("clip")["official_split"]
    num_boxes = boxes.table["clip"].value_counts()
    annotated = boxes.table[["clip", "frame"]].drop_duplicates()
    num_annotated = annotated["clip"].value_counts()
    counts = {"frames": int(table["num_frames"].sum())}

    def put(what: str, *numbers: int) -> None:
        found = dict(zip(UNITS, numbers, strict=True))
        counts.update({f"{what}: {unit}": found[unit] for unit in units})

    def add(what: str, names: pd.Series) -> None:
        of_names = (n.reindex(names, fill_value=0).sum() for n in (num_boxes, num_annotated))
        put(what, len(names), *map(int, of_names))

    sides = sorted(official.unique())
    add("all", table["clip"])
    for side in sides:
        add(side, table.loc[table["official_split"] == side, "clip"])
    videos = table.explode("actions")
    of_boxes = boxes.table[["clip", "frame", "actions"]].explode("actions")
    of_frames = of_boxes.drop_duplicates()
    for action in sorted({*videos["actions"], *of_boxes["actions"]}):
        parts = [part[part["actions"] == action] for part in (videos, of_boxes, of_frames)]
        put(f"class {action}, all", *map(len, parts))
        of_side = [part["clip"].map(official) for part in parts]
        for side in sides:
            put(f"class {action}, {side}", *(int((part == side).sum()) for part in of_side))
    for split in splits:
        for group, names in select_clips(split, clips, test_split=test_split).items():
            add(f"label split {split.name}, {group}", pd.Series(names, dtype="str"))
    strangers = set(num_boxes.index) - set(table["clip"])
    if strangers:
        counts["boxes of videos that are not listed"] = int(num_boxes[sorted(strangers)].sum())
    return counts


def _kind(what: str) -> str:
    """Whether it counts frames, a class, what a label split selects, or an official split."""
    named = (kind for kind in ("class ", "label split ", "frames") if what.startswith(kind))
    return next(named, "official split")


def published_counts(content: Mapping[str, Any], where: str) -> Published:
    """Counts of a YAML: `frames`, sides, `classes` and `splits`, each side [videos, boxes].

    A third number, if all have one, is that of the annotated frames; all may have the first alone.
    `counted` are further ones, under the names that the data set's own counts have; `assumed` ones
    are published by nobody, `archives_gb` are sizes of downloads by form.

    Raises:
        ConfigError: the mapping is not built like that.
    """
    counts: Counts = {}
    units: tuple[str, ...] = ()

    def add(what: str, numbers: Any) -> None:
        nonlocal units
        fits = isinstance(numbers, list) and all(type(n) is int for n in numbers)
        if not fits or len(numbers) not in ({len(units)} if units else {1, 2, 3}):
            expected = list(units) or " or ".join(str(list(UNITS[:n])) for n in (1, 2, 3))
            raise ConfigError(f"{where}: {what}: expected {expected}, found {numbers!r}.")
        units = UNITS[: len(numbers)]
        for unit, number in zip(units, numbers, strict=True):
            counts[f"{what}: {unit}"] = number

    sections = {"classes": "class", "splits": "label split"}
    for key, value in content.items():
        if key == "frames" and type(value) is int:
            counts["frames"] = value
        elif key in ("assumed", "archives_gb"):  # for plans alone
            continue
        elif key == "counted" and isinstance(value, Mapping):
            wrong = {what: number for what, number in value.items() if type(number) is not int}
            if wrong:
                raise ConfigError(f"{where}: counted: expected whole numbers, found {wrong}.")
            counts |= dict(value)
        elif key in sections and isinstance(value, Mapping):
            for name, sides in value.items():
                if not isinstance(sides, Mapping):
                    raise ConfigError(
                        f"{where}: {key}.{name}: expected a mapping, found {sides!r}."
                    )
                for side, numbers in sides.items():
                    add(f"{sections[key]} {name}, {side}", numbers)
        elif key != "note":
            add(str(key), value)
    return Published(counts, str(content.get("note", "")).strip(), units or UNITS[:2])


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
