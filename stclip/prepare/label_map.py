"""Reads AVA's label maps: which number means which action."""

import csv
import io
import re
from pathlib import Path

from stclip.errors import DataError
from stclip.storage.outside_files import content_of, text_of

_BLOCK = re.compile(r"\b(?:label|item)\s*\{(.*?)\}", re.DOTALL)
_NAME = re.compile(r'\bname:\s*"([^"]+)"')
_ID = re.compile(r"\b(?:label_id|id):\s*(\d+)")


def read_label_map(path: Path) -> dict[int, str]:
    """Official names by number, from a .pbtxt (80 or 60 classes) or a csv with id and name.

    Raises:
        DataError: missing, without any class, or with a number or name twice.
    """
    text = text_of(content_of(path), path)
    found: list[tuple[str, str]] = []
    for block in _BLOCK.findall(text):
        found += [(number, name) for number in _ID.findall(block) for name in _NAME.findall(block)]
    if not found:
        rows = csv.DictReader(io.StringIO(text))
        if {"id", "name"} <= set(rows.fieldnames or ()):
            found = [(row["id"], row["name"]) for row in rows]
    labels = {int(number): name for number, name in found if number.isdecimal()}
    if not labels or len(labels) != len(found) or len(set(labels.values())) != len(labels):
        raise DataError(
            f"{path}: not a label map: expected blocks with name and label_id or id (.pbtxt), or a "
            f"csv with columns id and name, each once; found {len(found)} entries."
        )
    return labels
