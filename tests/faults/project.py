"""A copy of the project to break, run as `make table2` runs it."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from forks import of_forks
from small_project import TABLE, copy_project, edit, environment, unlock

WRITTEN = ("data/*", "runs/*", "results/*", "logs/*", ".snakemake")  # by the main job
# What a fault that can strike anywhere breaks: all, or all from the prepared data on.
FROM_ARCHIVES = ("data/mini/jhmdb", "runs/*", "results/*")
FROM_PREPARED = ("data/mini/jhmdb/[df]e*", "runs/*", "results/*")  # detections, features
LONGEST_S = 3600  # a run that takes longer hangs
WITHIN_S = 5  # a moment lies so long after the end of a job
ONE_DATASET = ("--config", "datasets=[jhmdb]")  # as `make table2`


def _train_less(scale: dict[str, Any]) -> None:
    scale["methods"]["st_clip"]["train"].update(iterations=15, checkpoint_every=5)


class FaultError(Exception):
    """A fault was taken badly."""


def expect(holds: object, otherwise: str) -> None:
    """Raise `FaultError` unless `holds`."""
    if not holds:
        raise FaultError(otherwise)


@dataclass
class Run:
    """A main job at work or ended."""

    process: subprocess.Popen[bytes]
    output: Path  # its standard output and error

    @property
    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something that must happen while it is at work."""
        began = time.monotonic()
        while not holds():
            expect(self.process.poll() is None, f"ended before {what}; see {self.output}")
            expect(time.monotonic() - began < LONGEST_S, f"{what} never came; see {self.output}")
            time.sleep(0.01)

    @property
    def jobs_done(self) -> int:
        told = re.findall(r"^(\d+) of \d+ steps", self.text, re.MULTILINE)
        return int(told[-1]) if told else 0

    def ends_before(self, jobs: int, rng: random.Random) -> bool:
        """Wait until so many jobs are done, and seconds: a load slows jobs, not their count."""
        while self.jobs_done < jobs and self.process.poll() is None:
            time.sleep(0.05)
        try:
            self.process.wait(rng.uniform(0, WITHIN_S))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to all of its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Project:
    """The copy; every fault finds and leaves it finished."""

    def __init__(self, work: Path, *, disk: Path, short: Path | None, cores: int) -> None:
        """Make the copy in the folder `work`; `disk`: where it has its `data` and `runs`.

        `short`: a cut-down project to copy, whose main job has ended; then what is broken begins
        with the prepared data, and jobs are forks of one process for all runs.
        """
        self.folder, self.outputs, self.cores = work / "project", work / "outputs", cores
        self.disk, self.short, self._calls = disk, short, count(1)
        self.striking = FROM_PREPARED if short else FROM_ARCHIVES
        self.written = FROM_PREPARED if short else WRITTEN
        self.outputs.mkdir()
        self._build()

    def _build(self) -> None:
        if self.short:
            shutil.copytree(self.short, self.folder)
            edit(self.folder / "config/scales/mini.yaml", _train_less)
        else:
            self.folder.mkdir()
            copy_project(self.folder)
        for name in ("data", "runs"):
            place = self.folder / name
            if self.short:
                shutil.copytree(place, self.disk / name)
                shutil.rmtree(place)
            else:
                (self.disk / name).mkdir()
            place.symlink_to(self.disk / name)

    def moment(self, rng: random.Random) -> int:
        """How many jobs are done then; the last ones are over before anything befalls them."""
        return rng.randrange(int(0.8 * self.num_jobs))

    def measure(self) -> None:
        """The undisturbed run: what must come out, when its first stage speaks, when it ends."""
        self.forget(*self.striking)
        began = time.monotonic()
        run = self.start()
        run.until(lambda: " | " in run.text, "the first line of a stage")
        self.startup_s = time.monotonic() - began
        expect(run.process.wait(LONGEST_S) == 0, f"the undisturbed run fails; see {run.output}")
        self.duration_s, self.num_jobs = time.monotonic() - began, run.jobs_done
        self.undisturbed = self._results()
        expect(TABLE in self.undisturbed, "the undisturbed run wrote no table")

    def begin_anew(self) -> None:
        """Build the copy again and finish it."""
        for process in self.survivors():
            os.kill(process, signal.SIGKILL)
        for folder in (self.folder, *self.disk.iterdir()):
            shutil.rmtree(folder)
        self._build()
        self.finish()

    def start(self, *options: str, preloaded: bool = True) -> Run:
        """`preloaded`: as `make table2` does, else as it is told to those who type it."""
        unlock(self.folder)
        output = self.outputs / f"{next(self._calls):02d}.txt"
        command = ["snakemake", "--cores", str(self.cores), *options]
        command += [TABLE] if self.short else ["all"]
        command += ONE_DATASET
        settings = environment(self.folder)
        if preloaded and self.short:
            settings = of_forks(self.folder)
        elif preloaded:
            command = ["stclip", "preloaded", *command]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=settings | {"NO_PROXY": "127.0.0.1"},
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return Run(process, output)

    def finish(self, *, preloaded: bool = True) -> str:
        """Run to the end, which must be that of the undisturbed run; what was printed."""
        run = self.start(preloaded=preloaded)
        status = run.process.wait(LONGEST_S)
        expect(status == 0, f"it does not go on (exit status {status}); see {run.output}")
        found = self._results()
        apart = [n for n, text in self.undisturbed.items() if found.get(n) != text]
        expect(not apart, f"{apart} are not those of the undisturbed run; see {run.output}")
        return run.text

    def fail(self, *options: str, preloaded: bool = True) -> str:
        """Run to an error that is no bug; what was printed."""
        run = self.start(*options, preloaded=preloaded)
        expect(run.process.wait(LONGEST_S) != 0, f"the fault went unnoticed; see {run.output}")
        expect("Traceback" not in run.text, f"a traceback; see {run.output}")
        return run.text

    def forget(self, *patterns: str) -> None:
        """Delete what the main job wrote, so that it makes it again."""
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def survivors(self) -> list[int]:
        """Processes that work in the folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink().is_relative_to(self.folder):
                    found.append(int(process.name))
            except OSError:  # ended meanwhile, or somebody else's
                continue
        return found

    def _results(self) -> dict[str, str]:
        paths = [self.folder / TABLE, *self.folder.glob("runs/**/metrics.json")]
        return {str(p.relative_to(self.folder)): p.read_text() for p in paths if p.exists()}
