"""Remembers what a file was when it first came, where its publisher gives no SHA-256.

The record is a small text file under version control, as `sha256sum` writes and checks it.
"""

import logging
from pathlib import Path

from stclip.config import Download
from stclip.errors import DataError
from stclip.storage.files import digest, whole_file
from stclip.storage.listings import listing_line, parse_listing

logger = logging.getLogger(__name__)


def is_as_published(source: Download, sha256: str, record: Path) -> bool:
    """Whether a file of this SHA-256 is what its publisher says, or what it was when it first came.

    False where neither says anything.
    """
    recorded = parse_listing(record.read_text("utf-8", "replace")) if record.exists() else {}
    known = [source.sha256, source.sha256_prefix, *recorded.values()]
    return any(sha256.startswith(digits) for digits in known if digits)


def check_recorded(source: Download, file: Path, record: Path) -> None:
    """Compare `file` with its record, or make the record if there is none yet.

    A source that comes with a SHA-256, or a listing of checksums, needs no record and gets none.

    Raises:
        DataError: the file is not what it was when it first came, or the record is damaged.
    """
    if source.sha256 or source.listing:
        return
    found = digest(file)
    if not record.exists():
        with whole_file(record) as temporary:
            temporary.write_text(listing_line(found, file.name), "utf-8")
        logger.info("%s: recorded its sha256 in %s; commit that file", file, record)
        return
    recorded = list(parse_listing(record.read_text("utf-8", "replace")).values())
    if [len(hexdigest) for hexdigest in recorded] != [64]:
        raise DataError(
            f"{record}: expected a line `sha256  {file.name}`; restore it from version control."
        )
    if recorded != [found]:
        raise DataError(
            f"{file}: its sha256 is {found}, but {record} says that it was {recorded[0]} when it "
            f"first came. {' or '.join(source.urls)} has a new version, or the file is damaged: "
            "delete it to fetch it again; to go on with the new version, delete the record too."
        )
    logger.info("%s: as it first came", file)
