"""A small file system, with all that the stages store, is filled while the main job is at work."""

import random
import re
import threading
from pathlib import Path

from faults.project import Project, expect


class Filler(threading.Thread):
    """Takes every byte that is free, until it is told to stop."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.stopped = path, threading.Event()

    def run(self) -> None:
        with self.path.open("wb", buffering=0) as file:
            size = 1 << 20
            while not self.stopped.is_set():
                try:
                    file.write(b"x" * size)
                except OSError:
                    size = max(1, size // 2)
                    self.stopped.wait(0.01)

    def stop(self) -> None:
        self.stopped.set()
        self.join()
        self.path.unlink()


def full_disk(project: Project, rng: random.Random) -> str:
    """Fill it after a random job of a run; go on when there is room again."""
    project.forget(*project.striking)
    after = project.moment(rng)
    run = project.start()
    expect(not run.ends_before(after, rng), f"ended before the disk was filled; see {run.output}")
    filler = Filler(project.disk / "filler")
    filler.start()
    run.process.wait()
    filler.stop()
    expect(run.process.returncode != 0, f"a full disk went unnoticed; see {run.output}")
    expect("Traceback" not in run.text, f"a traceback; see {run.output}")
    told = re.search(r"error: (\S+): No space left on device .*Make room", run.text)
    expect(told, f"no message names a file and the way out; see {run.output}")
    assert told is not None
    project.finish()
    return f"full after {after} jobs: {told[1]}: No space left; with room, the same table"
