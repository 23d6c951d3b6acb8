"""Versions of data, models and tables, beside DVC: bookkeeping, pull."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import Out, ScaleName, app
from stclip.errors import DataError

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


def _in_git() -> bool:
    return any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
