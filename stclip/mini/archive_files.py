"""What the writers of drawn archives share: processes that draw, members without times, lists."""

import json
import signal
import zipfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from stclip.storage.files import digest, whole_file
from stclip.storage.listings import LISTING, listing_line

Job = TypeVar("Job")
Drawn = TypeVar("Drawn")


def drawn_in_order(
    draw: Callable[[Job], Drawn], jobs: Sequence[Job], *, workers: int
) -> Generator[Drawn, None, None]:
    """What `draw`, a function of its argument alone, gives for each job, in the jobs' order."""
    if workers == 1:
        yield from map(draw, jobs)
        return
    # Spawned, not forked: a fork of a process that has run OpenCV or torch threads may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process alone
        try:
            drawn = pool.map(draw, jobs, chunksize=8)  # starts the others, which inherit that
        finally:
            signal.signal(signal.SIGINT, heard)
        yield from drawn
    finally:
        pool.shutdown(cancel_futures=True)


def add_to_zip(
    archive: zipfile.ZipFile, name: str, content: bytes, *, method: int = zipfile.ZIP_DEFLATED
) -> None:
    """Add a member of constant time, mode and system."""
    info = zipfile.ZipInfo(name)  # its time is 1980-01-01
    info.create_system = 3  # Unix, whichever system writes it
    info.external_attr = 0o644 << 16
    archive.writestr(info, content, method)


def xywh(box_xyxy: Float[np.ndarray, "4"]) -> list[int]:
    """A box as COCO has it: first column and row, number of columns and rows."""
    x1, y1, x2, y2 = map(int, box_xyxy)
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def write_json(path: Path, content: Any) -> None:
    """Without line ends: of a row per box or frame nobody reads them."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content), "utf-8")


def write_listing(folder: Path, names: Sequence[str]) -> None:
    """SHA256SUMS of these files of a folder."""
    with whole_file(folder / LISTING) as path:
        sums = [listing_line(digest(folder / name), name) for name in names]
        path.write_text("".join(sums), "utf-8")
