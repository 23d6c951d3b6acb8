"""SIGKILL to the whole process group at random moments."""

import random
import time

from faults.project import WRITTEN, Project, expect


def kills(project: Project, rng: random.Random) -> str:
    """Kill and resume; the moments are drawn over the time that all of it takes."""
    times = 1 if project.short else 10
    project.forget(*WRITTEN)
    total_s = project.duration_s + times * project.startup_s  # every start costs that anew
    moments = sorted(rng.uniform(0, total_s) for _ in range(times))
    legs = [after - before for before, after in zip([0.0, *moments], moments, strict=False)]
    through = 0
    for leg_s in legs:
        run = project.start()
        if run.ends_within(leg_s):
            through += 1
            project.finish()
            project.forget(*WRITTEN)
            continue
        run.kill()
        deadline = time.monotonic() + 10
        while project.survivors():
            expect(time.monotonic() < deadline, f"{project.survivors()} outlive the kill")
            time.sleep(0.05)
    expect(through < times, "every run ended before it could be killed")
    project.finish()
    at = ", ".join(f"{leg_s:.0f}" for leg_s in legs)
    return f"kills {at} s after a start, {through} of them too late: the same table"
