"""Stores clips in threads, each once: a try that is killed is gone on with.

FFmpeg and OpenCV work outside of Python's lock, and threads leave no process behind when this one
is killed.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stclip.progress import Progress
from stclip.runtime.threads import cpu_threads
from stclip.storage.frame_store import StoreName, clip_file, whole_clips
from stclip.storage.resume_log import Journal, open_journal

logger = logging.getLogger(__name__)

JOURNAL = ".videos.journal"  # in the folder of frames, until all of them are there
T = TypeVar("T")


@dataclass(frozen=True)
class ClipJob(Generic[T]):
    """One clip to store."""

    clip: str
    identity: str  # of its source: the same means the same frames
    store: Callable[[], T]  # stores it, whole or not at all, and tells what was found


def store_clips(
    jobs: Iterable[ClipJob[T]],
    kind: Callable[..., T],
    frames: Path,
    store: StoreName,
    *,
    depends_on: str,
    total: int,
    check: Callable[[str, T], None],
) -> dict[str, T]:
    """Store clips; those that an earlier try has stored from the same source are not stored again.

    As many are stored at a time as there are CPU threads; one waits.

    Args:
        jobs: read one after the other.
        kind: the dataclass that a job's `store` returns.
        frames: existing folder to store in.
        store: how.
        depends_on: what decides, beside the sources, how the frames come out; as text.
        total: number of clips, for the log.
        check: called with every clip as soon as it is stored; what it raises ends the work.

    Returns:
        What was found, by clip.

    Raises:
        Whatever a job's `store`, or `check`, raises; clips that were stored by then are kept.
    """
    found: dict[str, T] = {}
    pending: dict[Future[T], ClipJob[T]] = {}
    workers = cpu_threads()
    progress = Progress("videos decoded", total=total)
    num_known = 0

    def take(clip: str, result: T) -> None:
        found[clip] = result
        check(clip, result)
        progress.advance()

    def finish(futures: Iterable[Future[T]]) -> None:
        # what succeeded is noted before a failure ends the work
        for future in sorted(futures, key=lambda done: done.exception() is not None):
            job, result = pending.pop(future), future.result()
            journal.add(job.clip, {"identity": job.identity, "found": asdict(result)})  # type: ignore[call-overload]
            take(job.clip, result)

    with open_journal(frames / JOURNAL, key=depends_on) as journal:
        earlier = _earlier(journal, frames)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        try:
            for job in jobs:
                known = earlier.get(job.clip)
                if known is not None and known["identity"] == job.identity:
                    num_known += 1
                    take(job.clip, kind(**known["found"]))
                    continue
                pending[pool.submit(job.store)] = job
                while len(pending) > workers:  # one waits
                    finish(wait(pending, return_when=FIRST_COMPLETED).done)
            finish(wait(pending).done)
        finally:
            pool.shutdown(cancel_futures=True)
        for clip in whole_clips(frames).keys() - found.keys():  # an earlier try had other clips
            clip_file(frames, clip, store).unlink()
    if num_known:
        logger.info("%d of them were stored by an earlier try", num_known)
    return found


def _earlier(journal: Journal, frames: Path) -> dict[str, Any]:
    """What an earlier try has noted as stored, if its frames are there."""
    whole = whole_clips(frames)
    return {clip: row for clip, row in journal.done.items() if clip in whole}
