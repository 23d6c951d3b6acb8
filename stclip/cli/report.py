"""What people look at: predictions, figures, report."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    FramesFolder,
    KeyFramesFile,
    MethodName,
    MetricsFiles,
    Out,
    RunFolder,
    ScaleName,
    Seed,
    Sources,
    SplitFile,
    app,
    read_data,
)

logger = logging.getLogger("stclip")


@app.command()
def predictions(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    run: RunFolder,
    split: SplitFile,
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    source: Sources,
    seed: Seed,
    config: ConfigFolder = CONFIG,
) -> None:
    """Draw what a run says of unseen clips: of every class a typical hit and a typical miss."""
    from stclip import config as c
    from stclip.evaluate.rules import assumptions_of, rules_of, shown_boxes
    from stclip.evaluate.voting import ASSUMPTIONS
    from stclip.records import LabelSplit, Scores
    from stclip.report.predictions import PREDICTIONS, write_predictions
    from stclip.runtime.provenance import provenance
    from stclip.tracking.wandb_runs import track_predictions
    from stclip.train.run_folder import run_hash

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    about = c.load_dataset(config, dataset, scale=scale)
    data = read_data(clips, boxes, key_frames, frames)
    label_split = LabelSplit.read(split)
    drawn = shown_boxes(source)
    assumption = assumptions_of(settings.assumptions, about)[0]
    title = f"{settings.title}, split {label_split.name}, seed {seed}: unseen classes"
    write_predictions(
        run / PREDICTIONS,
        ASSUMPTIONS[assumption](Scores.read(run / f"scores_{drawn}_unseen.parquet")),
        data,
        clips=label_split.unseen_clips,
        protocol=rules_of(about, data.key_frames).frames,
        title=f"{title} on {drawn} boxes, {assumption}",
    )
    head = provenance(settings, about, scale=scale, split=label_split, seed=seed)
    track_predictions(run, head, run=run_hash(settings, label_split, seed))


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="A file of config/figures.")],
    scale: ScaleName,
    run: Annotated[
        list[Path], typer.Option(help="Folder of a run that it shows, in its own order.")
    ],
    split: Annotated[
        list[Path],
        typer.Option(help="Label split of the same run, from `stclip splits resolve`."),
    ],
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Draw a figure of the paper from runs: their scores, or what their weights make of frames."""
    from stclip.records import LabelSplit
    from stclip.report.figure_kinds import draw_figure

    draw_figure(
        name,
        read_data(clips, boxes, key_frames, frames),
        folders=run,
        splits=[LabelSplit.read(path) for path in split],
        out=out,
        config=config,
        scale=scale,
    )


@app.command()
def report(
    metrics: MetricsFiles,
    table: Annotated[list[Path], typer.Option(help="A csv that the tables stage wrote.")],
    scale: ScaleName,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """One self-contained page: tables, curves, classes, errors, predictions, the runs' settings."""
    from stclip import config as c
    from stclip.config.resolved import as_resolved
    from stclip.report.page import build_page, write_page
    from stclip.report.page_tables import read_page_table
    from stclip.report.run_rows import by_dataset, read_run_folder

    settings = c.load_scale(config, scale)
    as_resolved(f"scale {scale}", settings.shown)
    runs = by_dataset([read_run_folder(path.parent) for path in metrics], scale=scale)
    titled = [(c.load_dataset(config, r.dataset, scale=scale).title, r) for r in runs]
    tables = [read_page_table(path) for path in table]
    write_page(out, build_page(titled, tables, scale=settings, out=out))
    logger.info(
        "report: read %d runs and %d tables, dropped none; %s has %.1f MB",
        *(len(metrics), len(tables), out, out.stat().st_size / 1e6),
    )


@app.command()
def browse(
    run: Annotated[list[Path], typer.Argument(help="Folders of scored and evaluated runs.")],
    out: Out = Path("browse.html"),
    boxes: Annotated[
        str | None, typer.Option(help="Box source; default: the first that was scored.")
    ] = None,
    labels: Annotated[str, typer.Option(help="unseen or base.")] = "unseen",
    assumption: Annotated[
        str | None, typer.Option(help="independent or voted; default: the method's first.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(help="Predictions on the page; default: 10,000.", min=1, max=50_000),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder of prepared data, in which {scale}/{dataset} lie.")
    ] = Path("data"),
    config: ConfigFolder = CONFIG,
) -> None:
    """One self-contained page to sort and filter single predictions, by class and kind of error."""
    from stclip.report.browse_page import MOST_ROWS, build_browse_page
    from stclip.report.browsed_run import Choice, read_browsed
    from stclip.report.page import write_page

    choice = Choice(boxes=boxes, labels=labels, assumption=assumption)
    runs = [read_browsed(folder, data=data, config=config, choice=choice) for folder in run]
    write_page(out, build_browse_page(runs, most=most or MOST_ROWS))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
