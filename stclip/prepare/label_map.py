"""Reads AVA's label maps: which number means which action, and of what kind it is."""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from stclip.errors import DataError
from stclip.storage.numbers import as_whole
from stclip.storage.outside_files import content_of, csv_parts, text_of

_BLOCK = re.compile(r"\b(?:label|item)\s*\{(.*?)\}", re.DOTALL)
_NAME = re.compile(r"""\bname:\s*(?:"([^"]+)"|'([^']+)')""")
_ID = re.compile(r"\b(?:label_id|id):\s*([^\s,;]+)")
_TYPE = re.compile(r"\blabel_type:\s*(\w+)")


def read_label_map(path: Path) -> dict[int, str]:
    """Official names by number, from a .pbtxt (80 or 60 classes) or a csv with id and name.

    Raises:
        DataError: missing, without any class, or with a number or name twice or none in an entry.
    """
    return parse_label_map(content_of(path), path)


def parse_label_map(content: bytes, path: str | Path) -> dict[int, str]:
    """`read_label_map` of a file's content; `path` is for messages."""
    text = text_of(content, path)
    if blocks := _BLOCK.findall(text):
        found, places = [_entry(block) for block in blocks], "entry"
    elif {"id", "name"} <= set(next(csv.reader(io.StringIO(text)), [])):
        table = pd.concat(csv_parts(content, path, needed=["id", "name"]))
        found, places = list(zip(table["id"], table["name"], strict=True)), "row"
    else:
        found, places = [], ""
    numbers = as_whole(
        [number for number, _ in found], "id", lambda row: f"{path}: {places} {row + 1}"
    ).tolist()
    labels = dict(zip(numbers, (name for _, name in found), strict=True))
    if (
        not found
        or not all(labels.values())
        or not len(found) == len(labels) == len(set(labels.values()))
    ):
        raise DataError(
            f"{path}: not a label map: expected blocks with name and label_id or id (.pbtxt), or a "
            f"csv with columns id and name, each once; found {len(found)} entries with "
            f"{len(labels)} numbers and {len(set(labels.values()))} names."
        )
    return labels


def label_types(content: bytes, path: str | Path) -> dict[int, str]:
    """The kind of each action by its number, as PERSON_MOVEMENT, from a .pbtxt that says it."""
    blocks = _BLOCK.findall(text_of(content, path))
    found = ((_entry(block)[0], _TYPE.search(block)) for block in blocks)
    return {int(number): kind[1] for number, kind in found if kind}


def _entry(block: str) -> tuple[str, str]:
    """Number and name of a block; "" for what it lacks."""
    number, name = _ID.search(block), _NAME.search(block)
    return number[1] if number else "", (name[1] or name[2]) if name else ""
