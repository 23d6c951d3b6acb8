"""From what the stages wrote to tables: tables, errors, summary, show; and the tables of keys."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ConfigFolder,
    MetricsFiles,
    Out,
    ScaleName,
    TableName,
    app,
)
from stclip.errors import ConfigError

IntoDocument = Annotated[Path | None, typer.Option("--into", help="A document with markers.")]


@app.command()
def tables(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="metrics.json files, measured costs or quality files, as its kind asks."
        ),
    ],
    table: TableName,
    scale: ScaleName,
    out: Out,
    only_split: Annotated[
        list[str] | None, typer.Option(help="Show only these of its label splits.")
    ] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """A table of config/tables: csv, md, tex."""
    from stclip.tables.kinds import make_table

    make_table(table, files, out, config=config, scale=scale, only=only_split or [])


@app.command()
def errors(
    metrics: MetricsFiles,
    table: TableName,
    scale: ScaleName,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """What the rows of a main table get wrong, side by side: csv and a figure."""
    from stclip.config.table import MainTable, load_table
    from stclip.storage.files import read_json
    from stclip.tables.error_table import read_errors, write_comparison

    settings = load_table(config, table, scale=scale)
    if not isinstance(settings, MainTable):
        raise ConfigError(f"table {table!r} is of kind {settings.kind}; errors are of kind main.")
    write_comparison(
        [read_json(path) for path in metrics],
        [read_errors(path.parent) for path in metrics],
        out,
        boxes=settings.boxes,
        title=f"{table}, scale {scale}",
    )


@app.command()
def summary(
    metrics: MetricsFiles,
    out: Out,
    plots: Annotated[
        tuple[Path, Path], typer.Option(help="Where to write mAP by method and AP by class (csv).")
    ],
) -> None:
    """A JSON of means for each method of a data set, and csv files to plot."""
    from stclip.storage.files import read_json
    from stclip.tables.summary import write_summary

    write_summary([read_json(path) for path in metrics], out, plots=plots)


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="A csv that `stclip tables` wrote.")],
    into: IntoDocument = None,
) -> None:
    """Print a table on the terminal, or put it into a document between its markers."""
    from stclip.tables.table_files import put_into, read_table, render_text

    frame = read_table(table)
    if into is None:
        typer.echo(render_text(frame))
    else:
        put_into(into, frame, marker=table.stem)


@app.command()
def keys(into: IntoDocument = None, config: ConfigFolder = CONFIG) -> None:
    """List the keys of the YAML files, or put the lists into config/README.md."""
    from stclip.config.key_tables import key_tables
    from stclip.tables.table_files import put_text_into

    for marker, table in key_tables(config).items():
        if into is None:
            typer.echo(f"{marker}\n\n{table}")
        else:
            put_text_into(into, table, marker=marker)
