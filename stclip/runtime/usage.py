"""What a job took, beside its log: time, memory, and how fast its loop ran. Light: no torch here.

Only a job that ended well leaves it. `stclip plan --measured` reads it.
"""

import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stclip.errors import DataError
from stclip.progress import Loop, loops
from stclip.storage.files import read_json, write_json
from stclip.storage.seal import SEAL

SUFFIX = ".usage.json"
KILOBYTE = 1 if sys.platform == "darwin" else 1024  # the unit of what the system says


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of one job."""

    seconds: float  # by the clock
    cpu_s: float  # of all its processes
    memory: int  # bytes at most, of the largest of its processes
    gpu_memory: int  # bytes at most, of tensors; 0 without a GPU
    on: str  # machine; empty where no torch was needed
    loops: dict[str, Loop] = field(default_factory=dict)  # by what is counted

    @property
    def loop_s(self) -> float:
        """Seconds of its loops, as if each had run at its later speed from the start."""
        return sum((loop.first_units + loop.units) * loop.unit_s for loop in self.loops.values())


class Watch:
    """Looks at this process from here to the end."""

    def __init__(self, log: Path) -> None:
        """`log`: of the job; what an earlier try left beside it goes."""
        self._out = usage_of(log)
        self._out.unlink(missing_ok=True)
        self._began, self._cpu_s = time.monotonic(), _cpu_s()

    def write(self) -> None:
        """Write what this process has taken so far; nothing while an error ends it."""
        if sys.exception() is not None:
            return
        torch: Any = sys.modules.get("torch")
        with_gpu = torch is not None and torch.cuda.is_available()
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        found = Usage(
            seconds=time.monotonic() - self._began,
            cpu_s=_cpu_s() - self._cpu_s,
            memory=max(resource.getrusage(each).ru_maxrss for each in who) * KILOBYTE,
            gpu_memory=torch.cuda.max_memory_allocated() if with_gpu else 0,
            on=_machine() if torch is not None else "",
            loops=loops,
        )
        with suppress(OSError):  # as of a full disk, which stops no job that has done its work
            write_json(self._out, asdict(found) | SEAL)


def usage_of(log: Path) -> Path:
    """Where the usage of the job with this log is."""
    return log.with_suffix(SUFFIX)


def read_usage(path: Path) -> Usage:
    """What a job took.

    Raises:
        DataError: missing, damaged or of another version.
    """
    content = read_json(path)
    try:
        found = {name: content[name] for name in Usage.__dataclass_fields__}
        found["loops"] = {name: Loop(**loop) for name, loop in found["loops"].items()}
        return Usage(**found)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not what a job took ({error!r}); delete it.") from None


def _cpu_s() -> float:
    return sum(os.times()[:4])


def _machine() -> str:
    from stclip.runtime.device import machine

    return machine()
