"""The page of results: report."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, Out, ScaleName, app

logger = logging.getLogger("stclip")


@app.command()
def report(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    table: Annotated[list[Path], typer.Option(help="A csv that the tables stage wrote.")],
    scale: ScaleName,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """One self-contained page: tables, curves, classes, errors, predictions, the runs' settings."""
    from stclip import config as c
    from stclip.report.page import build_page, write_page
    from stclip.report.page_tables import read_page_table
    from stclip.report.run_rows import by_dataset, read_run_folder

    settings = c.load_scale(config, scale)
    runs = by_dataset([read_run_folder(path.parent) for path in metrics], scale=scale)
    titled = [(c.load_dataset(config, r.dataset, scale=scale).title, r) for r in runs]
    tables = [read_page_table(path) for path in table]
    write_page(out, build_page(titled, tables, scale=settings, out=out))
    logger.info(
        "report: read %d runs and %d tables, dropped none; %s has %.1f MB",
        *(len(metrics), len(tables), out, out.stat().st_size / 1e6),
    )
