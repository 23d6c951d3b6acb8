"""How many CPU threads a process may use."""

import os


def cpu_threads() -> int:
    """What `stclip --threads` or OMP_NUM_THREADS says; without either, the cores it may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else len(os.sched_getaffinity(0))
