"""Reads a label split that a person wrote, splits/{dataset}/{family}/{split}.json."""

from pathlib import Path

from stclip.errors import DataError
from stclip.records import LabelSplit

SPLITS_FOLDER = "splits"


def read_committed(path: Path) -> LabelSplit:
    """A label split; in a folder of splits it says of itself what its place says.

    Raises:
        DataError: not a label split, or one of another place.
    """
    split = LabelSplit.read(path)
    *_, folder, dataset, family, _ = path.absolute().parts
    place = {"dataset": dataset, "family": family, "name": path.stem}
    for key, expected in place.items() if folder == SPLITS_FOLDER else ():
        found = getattr(split, key)
        if found != expected:
            raise DataError(
                f"{path}: {key} is {found!r}, its place says {expected!r}; correct it or move the "
                "file."
            )
    return split
