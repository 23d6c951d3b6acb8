"""Checksums that lie in a file of their own, as `sha256sum` and `md5sum` write and check them.

For files that cannot carry a seal: archives, weights shipped as they are, lists of JSON.
"""

import re
from pathlib import Path, PurePosixPath

from stclip.errors import DataError
from stclip.storage.files import digest

LISTING = "SHA256SUMS"  # its name beside the files that it lists
_LINE = re.compile(r"([0-9a-f]{64}|[0-9a-f]{32})[ \t]+\*?(.+)", re.IGNORECASE)


def listing_line(hexdigest: str, name: str) -> str:
    """The line of a file."""
    return f"{hexdigest}  {name}\n"


def parse_listing(text: str) -> dict[str, str]:
    """Bare file name -> SHA-256 (64 hex digits) or MD5 (32), lower case; other lines are ignored.

    >>> parse_listing("0cc175b9c0f1b6a831c399e269772661 *raw/a.zip")
    {'a.zip': '0cc175b9c0f1b6a831c399e269772661'}
    """
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {PurePosixPath(match[2]).name: match[1].lower() for match in found if match}


def check_listed(path: Path) -> None:
    """Where a SHA256SUMS beside `path` lists it, it must be as listed there.

    Raises:
        DataError: it is not.
    """
    listing = path.with_name(LISTING)
    if not listing.is_file():
        return
    listed = parse_listing(listing.read_text("utf-8")).get(path.name)
    if listed is not None and listed != (found := digest(path)):
        raise DataError(
            f"{path}: damaged: its SHA-256 is {found[:12]}..., {listing} says {listed[:12]}.... "
            "Delete both and run the stage that writes them, or get them again."
        )
