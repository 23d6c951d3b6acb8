"""Takes away the lock that a dead Snakemake left in the project's folder, and no other.

Snakemake's lock does not say whose it is. So every run notes itself beside it before it locks: the
boot of the machine, its process and when that began. A lock goes only if all the runs noted there
are known to have ended: processes of this machine that are gone, or were before it was restarted.
"""

import atexit
import fcntl
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stclip.errors import DataError
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)

SNAKEMAKE = Path(".snakemake")  # of the project's folder
NOTES, LOCKS = "stclip-runs", "locks"  # folders of it
BY_HAND = "If no snakemake is at work in this folder on any machine: snakemake --unlock"


@dataclass(frozen=True)
class Run:
    """A process, so that no other is taken for it."""

    host: str  # name of the machine
    machine: str  # its id, "" where it has none
    boot: str  # another after every start of the machine
    pids: str  # what process ids count: containers have their own
    pid: int
    started: str  # in ticks since the boot, as ids come again

    @classmethod
    def this(cls) -> "Run | None":
        """This process; None where the system does not tell."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            pids = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            return None
        machine = Path("/etc/machine-id")
        name = machine.read_text().strip() if machine.exists() else ""
        pid = os.getpid()
        return cls(platform.node(), name, boot, pids, pid, _stat(pid)[1])

    @property
    def seen_from_here(self) -> bool:
        """Whether its id means the same process here."""
        here = Run.this()
        return here is not None and (self.boot, self.pids) == (here.boot, here.pids)

    @property
    def ended(self) -> bool:
        """Whether it is known to be dead."""
        if self.seen_from_here:
            return not self._lives()
        here = Run.this()  # the same machine, restarted since?
        return (
            here is not None
            and self.machine != ""
            and (self.host, self.machine) == (here.host, here.machine)
            and self.boot != here.boot
        )

    def _lives(self) -> bool:
        state, started = _stat(self.pid)
        if state:
            return state not in "ZX" and started == self.started
        try:
            os.kill(self.pid, 0)  # nothing is sent; /proc may hide what other users run
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


def note_run(folder: Path = SNAKEMAKE) -> None:
    """Note that this process may lock the folder, until it ends.

    Where the system has no /proc nothing is noted, and no lock is taken away.
    """
    own = Run.this()
    if own is None:
        return
    path = (folder / NOTES / f"{own.host}-{own.boot}-{own.pid}.json").absolute()
    try:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(own)))
    except (OSError, DataError):  # whoever cannot write here cannot lock either, and says so
        return
    atexit.register(path.unlink, missing_ok=True)


def unlock(folder: Path = SNAKEMAKE) -> bool:
    """Take away the lock of runs that are dead; what is left, and why, goes to the log.

    Returns:
        Whether the folder is free.
    """
    locks = sorted((folder / LOCKS).glob("*.lock"))  # before the notes: a run notes itself first
    with _alone(folder) as alone:
        notes = _noted(folder)
        doubts = _doubts(notes)
        if notes and not alone:
            doubts.append(f"two calls at once could take it away here. {BY_HAND}")
        if locks and doubts:
            for doubt in doubts:
                logger.warning("unlock: %s stays locked: %s", folder.absolute().parent, doubt)
            return False
        for path in (*locks, *(path for path, run in notes.items() if _has_ended(run))):
            path.unlink(missing_ok=True)
    if locks:
        logger.info("unlock: took away the lock of a run that has ended")
    return True


def doubts_of_lock(folder: Path = SNAKEMAKE) -> list[str]:
    """Why a lock in the folder may be that of a run that is at work; none: it has ended."""
    return _doubts(_noted(folder))


def _noted(folder: Path) -> dict[Path, Run | None]:
    return {path: _read(path) for path in sorted((folder / NOTES).glob("*.json"))}


def _doubts(notes: Mapping[Path, Run | None]) -> list[str]:
    if not notes:
        return [f"it is not known whose lock it is. {BY_HAND}"]
    return [_doubt(path, run) for path, run in notes.items() if not _has_ended(run)]


def _has_ended(run: Run | None) -> bool:
    return run is not None and run.ended


def _doubt(path: Path, run: Run | None) -> str:
    if run is None:
        return f"{path}, which says whose lock it is, cannot be read. {BY_HAND}"
    if run.seen_from_here:
        return f"a run is at work in it, process {run.pid}. Wait for it, or end it."
    return (
        f"process {run.pid} on {run.host} may be at work in it, which cannot be seen from here. If "
        f"it has ended, delete {path} and unlock again."
    )


def _stat(pid: int) -> tuple[str, str]:
    """State of a process and when it began, as Linux tells them; both "" if it does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def _read(path: Path) -> Run | None:
    try:
        return Run(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Let no second `unlock` look meanwhile; whether that could be seen to."""
    try:
        (folder / NOTES).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NOTES, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        alone = True
    except OSError:  # some network file systems have no locks
        alone = False
    try:
        yield alone
    finally:
        os.close(descriptor)
