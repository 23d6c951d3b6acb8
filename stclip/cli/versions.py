"""Versions of data, models and tables, beside DVC: bookkeeping, pull; doctor."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stclip.cli.options import Out, ScaleName, app
from stclip.errors import DataError

if TYPE_CHECKING:
    from stclip.runtime.file_times import FileTime

WITHOUT_GIT = (
    "This folder is no clone of a git repository, which DVC asks for: make one (git clone), or "
    "have DVC do without: dvc config --local core.no_scm true"
)


@app.command()
def bookkeeping(
    rules: Annotated[list[str], typer.Argument(help="Rules of the Snakefile.")],
    scale: ScaleName,
    out: Out,
    dataset: Annotated[
        str | None, typer.Option(help="Of this data set's files alone; all without.")
    ] = None,
) -> None:
    """Keep Snakemake's notes on the files of these rules in a file that travels with them."""
    from stclip.runtime.snakemake_notes import save

    save(out, rules=rules, scale=scale, dataset=dataset)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def pull(
    context: typer.Context,
    kept: Annotated[
        list[Path] | None,
        typer.Option(help="Folders below which `stclip bookkeeping` files are: data and results."),
    ] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="From DVC's cache on this machine, without a remote.")
    ] = False,
) -> None:
    """Fetch what dvc.lock names (`dvc pull`, with its arguments), so that Snakemake knows it."""
    from stclip.runtime.snakemake_notes import restore

    command = ["checkout" if cached else "pull", *context.args]
    done = subprocess.run([sys.executable, "-m", "dvc", *command], check=False)
    if done.returncode:
        way_out = "" if _in_git() else f" {WITHOUT_GIT}"
        raise DataError(
            f"`dvc {' '.join(command)}` failed, see above; no file's time was changed.{way_out}"
        )
    folders = kept or [Path("data"), Path("results")]
    restore(sorted(f for k in folders for f in k.rglob("*.json") if "bookkeeping" in f.parts))


@app.command()
def doctor(
    touch: Annotated[
        bool,
        typer.Option(
            "--touch", help="Give files that were copied without times those of Snakemake's notes."
        ),
    ] = False,
) -> None:
    """Say whether files have the times at which their rules made them, and what to do if not."""
    from stclip.runtime.file_times import copied_without_times, file_times, restore_times

    times = file_times()
    newer, older = [t for t in times if t.newer], [t for t in times if t.older]
    if not times:
        typer.echo(
            "Snakemake has no notes on files here (.snakemake/metadata), so it goes by times alone."
            " If this is a copy of a folder in which all was made: `snakemake --touch TARGET` takes"
            " its files as they are. Copy .snakemake too, and `stclip doctor --touch` does better."
        )
        return
    typer.echo(
        f"{len(times)} files that rules made: {len(newer)} are newer than when they were made, "
        f"{len(older)} are older."
    )
    if copied_without_times(times) and not touch:
        typer.echo(
            "This folder was copied without times (cp -r, tar x -m; cp -a, rsync -a, tar x keep "
            "them): Snakemake would make most of it again. If nothing but the copy changed them, "
            "`stclip doctor --touch` gives files the times that Snakemake noted. Changed settings "
            "are still noticed then; `snakemake --touch` would take the files for made by them."
        )
    elif newer and not touch:
        typer.echo(f"Changed since, what follows from them is made again: {_some(newer)}")
    if older:
        typer.echo(
            f"Replaced by older files, which Snakemake does not notice: {_some(older)}. Delete them"
            ", and their rules make them again."
        )
    if touch:
        restore_times(times)
        typer.echo(f"{len(newer)} files have the times at which they were made.")


def _some(times: "Sequence[FileTime]") -> str:
    paths = [time.path for time in times]
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _in_git() -> bool:
    return any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
