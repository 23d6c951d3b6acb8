"""Free disk against what is still to come: archives, models, prepared frames.

Sizes of archives are what servers tell or, where none was asked, what is noted beside the published
counts; frames are the published counts times the size of a stored one (`stclip.costs.workload`).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stclip import config as c
from stclip.costs.workload import Workload
from stclip.doctor.addresses import Answer
from stclip.doctor.files_there import MODELS, Wanted
from stclip.doctor.finding import Finding, of_machine
from stclip.doctor.needs import Needs
from stclip.errors import ConfigError
from stclip.storage.files import nearest_folder

GB = 1e9
LITTLE = 10 * GB  # where nobody knows how much comes, less than this is told


@dataclass
class Coming:
    """What is to come of a data set, or of the models; bytes."""

    sizes: dict[str, float] = field(default_factory=dict)  # by what it is
    unknown: list[str] = field(default_factory=list)  # what nobody knows the size of

    def __str__(self) -> str:
        known = [f"{what} {size / GB:.1f}" for what, size in self.sizes.items()]
        return ", ".join([*known, *(f"{what} of unknown size" for what in self.unknown)])


def check_disk(
    needs: Needs, files: Sequence[Wanted], answers: Mapping[str, Answer] | None
) -> Finding:
    """Whether all of it has room; features and runs, which come on top, are not counted."""
    free = shutil.disk_usage(nearest_folder(Path("data", needs.name))).free
    coming = {
        owner: coming_of(owner, needs, [w for w in files if w.owner == owner], answers or {})
        for owner in (MODELS, *needs.datasets)
    }
    total = sum(sum(part.sizes.values()) for part in coming.values())
    parts = "; ".join(f"{owner}: {part}" for owner, part in coming.items() if str(part))
    unknown = any(part.unknown for part in coming.values())
    known = f"{total / GB:.1f} GB are to come" if total or not unknown else "to come are"
    found = f"{free / GB:.0f} GB free; {known}" + (f": {parts}" if parts else "")
    if free < total:
        return of_machine(
            "disk", "problem", found,
            "make room, let data/ be a link to a larger disk, or choose data sets (--dataset here, "
            "--config 'datasets=[...]' there)",
        )  # fmt: skip
    if unknown and free - total < LITTLE:
        to_do = f"have {LITTLE / GB:.0f} GB and more to spare for what nobody knows the size of"
        return of_machine("disk", "note", found, to_do)
    return of_machine("disk", "ok", f"{found}; features and runs on top (stclip plan)")


def coming_of(
    owner: str, needs: Needs, files: Sequence[Wanted], answers: Mapping[str, Answer]
) -> Coming:
    """What is to come of a data set, or of the models: files that are not there, then frames."""
    found = Coming()
    absent = [w for w in files if w.state == "absent" and not w.is_idle and not w.local]
    told = [_told(wanted, answers) for wanted in absent]
    noted = None if owner == MODELS else _noted(needs, owner)
    what = "weights" if owner == MODELS else "archives"
    known = [size for size in told if size is not None]
    if absent and len(known) == len(absent):
        found.sizes[what] = sum(known)
    elif absent and noted is not None:
        found.sizes[what] = noted * len(absent) / len(files)
    elif absent:
        found.unknown.append(what)
    if owner == MODELS or Path("data", needs.name, owner, "clips.parquet").exists():
        return found
    try:
        work = Workload(needs.config, needs.name).of("prepare", {"dataset": owner})
        found.sizes["frames"] = work.written
    except (ConfigError, KeyError):  # nobody has published how many there are
        found.unknown.append("frames")
    return found


def _told(wanted: Wanted, answers: Mapping[str, Answer]) -> int | None:
    """The size that the first server tells that does."""
    sizes = (answers[url].size for url in wanted.web if url in answers)
    return next((size for size in sizes if size is not None), None)


def _noted(needs: Needs, dataset: str) -> float | None:
    """Bytes of all archives of the data set's form, if they are noted."""
    path = needs.config / "published" / f"{dataset}_counts.yaml"
    if not needs.scale.published or not path.exists():
        return None
    noted = c.read_yaml(path).get("archives_gb", {}).get(needs.datasets[dataset].form)
    return None if noted is None else float(noted) * GB
