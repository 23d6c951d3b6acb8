"""What the writers of drawn archives share: processes that draw, boxes of things, lists."""

import json
import os
import signal
import zipfile
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from stclip.errors import ConfigError
from stclip.mini.enlarge import enlarged_boxes
from stclip.runtime.parent import end_with_parent
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
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),)
    )
    try:
        resource_tracker.ensure_running()  # else it starts below, and takes back what is blocked
        # Ctrl-C is for this process alone, and waits until the others are there.
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            drawn = pool.map(draw, jobs, chunksize=8)  # starts the others, which inherit that
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
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


def check_counts(*, workers: int, of: str = "each class", **videos: int) -> None:
    """Workers, and videos of a class (or of what else needs some) by parameter: 1 or more of each.

    Raises:
        ConfigError: there are less.
    """
    for name, count in videos.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; {of} needs at least 1.")
    if workers < 1:
        raise ConfigError(f"workers is {workers}; at least 1 is needed.")


def chosen_classes(classes: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of the known classes that are chosen, in their order.

    Raises:
        ConfigError: none, or some are not known.
    """
    unknown = sorted({*classes} - {*known})
    if unknown or not classes:
        raise ConfigError(f"classes: unknown {unknown}; expected some of {list(known)}.")
    return [name for name in known if name in classes]


def drawn_length(rng: np.random.Generator, *, shortest: int, mean: int, longest: int) -> int:
    """Frames of a video: many are short, few are long."""
    extra = rng.geometric(1 / (mean - shortest + 1)) - 1
    return min(shortest + int(extra), longest)


class ThingBoxes:
    """The boxes of things, as a detector of objects would hand them out.

    COCO results, and the list of images that they are of; persons would be category 1.
    """

    FILES = ("props.json", "props_images.json")

    def __init__(self, kinds: Iterable[str]) -> None:
        """`kinds`: of things, in the order of their categories."""
        self._categories = {kind: number for number, kind in enumerate(kinds, start=2)}
        self.images: list[dict[str, Any]] = []
        self.boxes: list[dict[str, Any]] = []

    def add(self, file_name: str, seen: Iterable[tuple[str, list[int]]]) -> None:
        """The next image, and the kinds and boxes (xywh) of what is seen on it."""
        self.images.append({"id": len(self.images) + 1, "file_name": file_name})
        self.boxes += [
            {
                "image_id": len(self.images),
                "category_id": self._categories[kind],
                "bbox": box,
                "score": 1,
            }
            for kind, box in seen
        ]

    def write(self, folder: Path) -> None:
        """Write the two files."""
        named = [{"id": number, "name": kind} for kind, number in self._categories.items()]
        contents = (self.boxes, {"images": self.images, "categories": named})
        for name, content in zip(self.FILES, contents, strict=True):
            with whole_file(folder / name) as temporary:
                # without line ends: of a row per box or frame nobody reads them
                temporary.write_text(json.dumps(content), "utf-8")


def xywh(box_xyxy: Float[np.ndarray, "4"], *, factor: float = 1.0) -> list[int]:
    """A box as COCO has it: first column and row, number of columns and rows.

    `factor`: how much larger the pictures are than they were drawn.
    """
    x1, y1, x2, y2 = enlarged_boxes(box_xyxy, factor).tolist()
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def write_listing(folder: Path, names: Sequence[str], *, listing: str = LISTING) -> None:
    """SHA256SUMS, or what `listing` names, of these files of a folder."""
    with whole_file(folder / listing) as path:
        sums = [listing_line(digest(folder / name), name) for name in names]
        path.write_text("".join(sums), "utf-8")
