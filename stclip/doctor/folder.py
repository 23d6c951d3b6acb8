"""What an earlier run, or a copy, left in the project's folder: times, locks, half downloads."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stclip.doctor.finding import Finding, some
from stclip.runtime.file_times import FileTime, copied_without_times, file_times
from stclip.runtime.folder_lock import LOCKS, SNAKEMAKE, doubts_of_lock

PART = ".part"  # ends the name of a file that is coming in


def check_folder() -> Iterator[Finding]:
    """Times of files, a lock that a dead run left, downloads that broke off."""
    yield from check_times(file_times())
    yield _lock()
    yield _half_downloads(sorted(Path("data").glob(f"*/**/*{PART}")))


def check_times(times: Sequence[FileTime]) -> Iterator[Finding]:
    """Whether files have the times at which their rules made them, and what to do if not."""
    newer, older = [t for t in times if t.newer], [t for t in times if t.older]
    if not times:
        made = [folder for folder in ("data", "runs", "results") if _holds_files(Path(folder))]
        if not made:
            yield Finding("folder", "file times", "ok", "nothing was made here yet")
            return
        yield Finding(
            "folder", "file times", "note",
            f"{', '.join(made)} hold files, but Snakemake has no notes on them "
            "(.snakemake/metadata): it goes by their times alone",
            "if this is a copy of a folder in which all was made: `snakemake --touch TARGET` takes "
            "its files as they are. Copy .snakemake too, and `stclip doctor --touch` does better",
        )  # fmt: skip
        return
    told = f"{len(times)} files that rules made: {len(newer)} newer, {len(older)} older than then"
    if copied_without_times(times):
        yield Finding(
            "folder", "file times", "problem",
            f"{told}; this folder was copied without times (cp -r, tar x -m; cp -a, rsync -a, tar "
            "x keep them): Snakemake would make most of it again",
            "if nothing but the copy changed them: `stclip doctor --touch` gives files the times "
            "that Snakemake noted. Changed settings are still noticed then; `snakemake --touch` "
            "would take the files for made by them",
        )  # fmt: skip
    elif newer:
        yield Finding(
            "folder", "file times", "note", f"{told}; changed since: {_some(newer)}",
            "nothing, if you changed them: what follows from them is made again",
        )  # fmt: skip
    if older:
        yield Finding(
            "folder", "file times", "problem",
            f"{told}; replaced by older files, which Snakemake does not notice: {_some(older)}",
            "delete them, and their rules make them again",
        )  # fmt: skip
    if not newer and not older:
        yield Finding("folder", "file times", "ok", f"{told}")


def _lock() -> Finding:
    if not any((SNAKEMAKE / LOCKS).glob("*.lock")):
        return Finding("folder", "lock", "ok", "no run has locked the folder")
    doubts = doubts_of_lock()
    if doubts:
        return Finding("folder", "lock", "note", "locked", " ".join(doubts))
    found = "locked by a run that has ended"
    return Finding("folder", "lock", "problem", found, "`stclip unlock` takes the lock away")


def _half_downloads(parts: Sequence[Path]) -> Finding:
    if not parts:
        return Finding("folder", "broken downloads", "ok", "none")
    sizes = [f"{path} ({path.stat().st_size / 1e6:.0f} MB)" for path in parts]
    to_do = "nothing: the next run goes on there. Delete one to begin it anew"
    return Finding("folder", "broken downloads", "note", some(sizes), to_do)


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def _some(times: Sequence[FileTime]) -> str:
    return some([time.path for time in times])
