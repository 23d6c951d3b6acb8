"""Is this machine ready for a scale: doctor."""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, app
from stclip.config import check_name


@app.command()
def doctor(
    scale: Annotated[
        str | None, typer.Option(help="A file of config/scales. [default: that of config.yaml]")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Only this data set; may be given again.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method; may be given again.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this part: machine, downloads, weights, folder.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read downloads of more than 2 GiB, too.")
    ] = False,
    record_weights: Annotated[
        bool,
        typer.Option(
            "--record-weights", help="Keep what CLIP weights compute, where nothing is recorded."
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Also write the findings to this file.")] = None,
    touch: Annotated[
        bool,
        typer.Option(
            "--touch",
            help="Give files that were copied without times those of Snakemake's notes; no more.",
        ),
    ] = False,
    config: ConfigFolder = CONFIG,
) -> None:
    """Say whether machine, downloads, weights and folder are ready for a scale; status 1 if not."""
    from stclip.doctor.doctor import Examination
    from stclip.doctor.finding import PARTS, as_json, render
    from stclip.storage.files import write_json

    if touch:
        _touch()
        return
    for name in only or ():
        check_name(name, PARTS, what="part of --only:")
    examination = Examination(
        config=config, scale=scale, datasets=dataset or (), methods=method or (),
        parts=[part for part in PARTS if part in (only or PARTS)], offline=offline,
        read_all=verify, record_weights=record_weights,
    )  # fmt: skip
    with _quiet():
        found = examination.run()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(render(found, width=width))
    if json is not None:
        write_json(json, as_json(found))
    if any(finding.status == "problem" for finding in found):
        raise typer.Exit(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """The table says what the log would."""
    log = logging.getLogger("stclip")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _touch() -> None:
    from stclip.runtime.file_times import file_times, restore_times

    times = file_times()
    restore_times(times)
    newer = sum(time.newer for time in times)
    typer.echo(f"{newer} of {len(times)} files have the times at which they were made.")
