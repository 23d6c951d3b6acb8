"""Two calls of the main job at once."""

import random

from small_project import unlock

from faults.project import Project, expect


def two_at_once(project: Project, _: random.Random) -> str:
    """The second is told; the first ends as if alone; then there is nothing to do."""
    project.forget(*project.striking)  # so much that the first is at work when the second starts
    first = project.start()
    locks = project.folder / ".snakemake" / "locks"
    first.until(lambda: locks.is_dir() and any(locks.iterdir()), "the lock")
    unlock(project.folder)
    expect(any(locks.iterdir()), "make unlock takes the lock of a snakemake at work")
    told = project.fail(preloaded=False)
    for words in ("cannot be locked", str(project.folder), "--unlock"):
        expect(words in told, f"the second call does not say {words!r}")
    expect(first.process.wait() == 0, f"the first call failed; see {first.output}")
    expect("Nothing to be done" in project.finish(preloaded=False), "something is left to do")
    return "the second is told that the folder is locked; the first ends in the same table"
