"""Digests of files that people bring, cheap enough to ask for whenever the workflow is parsed.

A file's SHA-256 is computed once and remembered with its size, both of its times and its inode;
whatever changes one of them has the file read again. So a file counts by its content, wherever it
was copied from and whatever its time says, and nothing is read twice. What is too large to be read
at all, an unpacked data set say, counts by names, sizes and times: there every change counts, not
only a newer one.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stclip.storage.files import digest, whole_file

logger = logging.getLogger(__name__)
CACHE = Path(".snakemake", "stclip_digests.json")  # of the project's folder
LARGE = 2 << 30  # bytes of a file or folder that are not read
_SETTLED_S = (
    2.0  # a file that changed later than that may change again within its times' resolution
)

_known: dict[Path, dict[str, Any]] = {}  # by the cache's file: path -> [size, times, inode, digest]


def content_of(path: Path) -> str:
    """What tells the content of a file or a folder from any other; of the same content the same.

    Hidden files of a folder do not count.

    Raises:
        FileNotFoundError.
    """
    stats = dict(_files(path)) if path.is_dir() else {path: path.stat()}
    names = {str(file.relative_to(path)): file for file in sorted(stats)}
    if sum(stat.st_size for stat in stats.values()) > LARGE:
        rows = [[n, stats[f].st_size, stats[f].st_mtime_ns] for n, f in names.items()]
        return f"times:{_sha256(rows)}"
    found = _digests(stats)
    if path.is_dir():
        return _sha256([[name, found[file]] for name, file in names.items()])
    return found[path]


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path), entry.stat()


def _digests(stats: dict[Path, os.stat_result]) -> dict[Path, str]:
    """SHA-256 of files, from the cache where they are as they were."""
    cache = CACHE.absolute()
    if cache not in _known:
        _known[cache] = _read(cache)
    known = _known[cache]
    found: dict[Path, str] = {}
    learnt = False
    for file, stat in stats.items():
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        key = str(file.absolute())
        *of_then, sha256 = known.get(key, [None])
        if of_then != stamp:
            sha256 = digest(file)
            if time.time() - stat.st_ctime > _SETTLED_S:
                known[key] = [*stamp, sha256]
                learnt = True
        found[file] = sha256
    if learnt and cache.parent.is_dir():  # not where there is no workflow
        for gone in [key for key in known if not Path(key).exists()]:
            del known[gone]
        try:
            with whole_file(cache) as temporary:
                temporary.write_text(json.dumps(known), "utf-8")
        except OSError as error:
            logger.info("%s cannot be written (%s); digests are computed again", cache, error)
    return found


def _read(cache: Path) -> dict[str, Any]:
    """What is remembered; a damaged file is nothing but forgotten."""
    try:
        content = json.loads(cache.read_text("utf-8"))
        return {
            path: [int(n) for n in stamp] + [str(sha)] for path, (*stamp, sha) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
