"""Files that carry the SHA-256 of their own bytes, so that damage is told and moves no number.

Parquet, safetensors and JSON do not notice a changed byte, PyTorch does not look at the check sums
of its archives. So a writer puts `BLANK` somewhere into its file, where the format has room for a
text, and `sealed` replaces it by the digest of all bytes but its own digits. `check_seal` computes
it again before anything else is read.
"""

import hashlib
import re
from pathlib import Path

from stclip.errors import DataError

MARK = "stclip-sha256:"
BLANK = MARK + "0" * 64
SEAL = {"seal": BLANK}  # for metadata that are a dict
_SEALS = re.compile(re.escape(MARK.encode()) + rb"([0-9a-f]{64})")


def sealed(content: bytes) -> bytes:
    """`content` with its digest in place of the one `BLANK` in it."""
    assert content.count(BLANK.encode()) == 1, "one seal a file"
    return content.replace(BLANK.encode(), f"{MARK}{_digest(content)}".encode())


def check_seal(content: bytes, path: Path, *, foreign: bool = False) -> None:
    """Every byte of `content`, what `path` holds, must be as it was written.

    `foreign`: the file may come from somebody else; then it has no seal.

    Raises:
        DataError: damaged, or written by a version that had no seals.
    """
    found = _SEALS.findall(content)
    if not found and foreign:
        return
    if len(found) != 1:
        raise DataError(
            f"{path}: damaged, or written by an older version: it carries no seal. Delete it and "
            "run the same again; the stage that writes it makes it anew."
        )
    by_hand = " If you changed it by hand, take the seal out of it." if foreign else ""
    digest = _digest(content.replace(found[0], b"0" * 64))
    if digest.encode() != found[0]:
        raise DataError(
            f"{path}: damaged: its SHA-256 is {digest[:12]}..., its seal says "
            f"{found[0].decode()[:12]}.... Delete it and run the same again; the stage that writes "
            f"it makes it anew.{by_hand}"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
