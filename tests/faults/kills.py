"""SIGKILL to the whole process group at random moments."""

import random
import time

from faults.project import Project, expect


def kills(project: Project, rng: random.Random) -> str:
    """Kill and resume; the moments are drawn over all jobs and lie within one."""
    times = 1 if project.short else 10
    project.forget(*project.written)
    moments = sorted(project.moment(rng) for _ in range(times))
    legs = [after - before for before, after in zip([0, *moments], moments, strict=False)]
    through = 0
    for leg in legs:
        run = project.start()
        if run.ends_before(leg, rng):
            through += 1
            project.finish()
            project.forget(*project.written)
            continue
        run.kill()
        deadline = time.monotonic() + 10
        while project.survivors():
            expect(time.monotonic() < deadline, f"{project.survivors()} outlive the kill")
            time.sleep(0.05)
    expect(through < times, "every run ended before it could be killed")
    project.finish()
    at = ", ".join(map(str, legs))
    return f"kills {at} jobs after a start, {through} of them too late: the same table"
