"""All formats of annotations; a file's own is told by its content."""

from collections.abc import Sequence
from pathlib import Path

from stclip.config.names import pick
from stclip.errors import DataError
from stclip.prepare.annotations import ava_csv, coco, cvat, rows, via
from stclip.prepare.annotations.found import Format, Found, ReadAs
from stclip.storage.outside_files import content_of

# In the order in which a file is tried: AVA's csv has neither header nor mark.
FORMATS = {
    its.name: its for its in (coco.FORMAT, cvat.FORMAT, via.FORMAT, rows.FORMAT, ava_csv.FORMAT)
}
_SUFFIXES = ("*.csv", "*.csv.gz", "*.json", "*.json.gz", "*.xml", "*.xml.gz")


def read_file(path: Path, name: str | None, read_as: ReadAs) -> tuple[Format, Found]:
    """Read a file of annotations, gzip allowed.

    Args:
        path: the file.
        name: of its format; None: told by the content.
        read_as: what the format leaves open.

    Raises:
        ConfigError: an unknown format, or something is said that the format says itself.
        DataError: missing, damaged, of no known format or not built like its format.
    """
    content = content_of(path)
    if name is not None:
        found = pick(FORMATS, name, what="format of annotations")
    else:
        fits = [its for its in FORMATS.values() if its.looks_like(content)]
        if not fits:
            known = "; ".join(f"{its.name}: {its.title}" for its in FORMATS.values())
            raise DataError(f"{path}: of no known format; known are {known}.")
        found = fits[0]
    found.check(read_as)
    return found, found.read(content, path, read_as)


def listed_files(paths: Sequence[Path]) -> list[Path]:
    """The files, and those in the folders among them, sorted by name.

    Raises:
        DataError: a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        own = sorted({file for suffix in _SUFFIXES for file in path.glob(suffix)})
        if not own:
            raise DataError(f"{path}: has no files {', '.join(_SUFFIXES)}.")
        files += own
    return files
