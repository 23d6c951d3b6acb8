"""From score files to tables: evaluate, evaluate-file, compare, tables, ablation, summary, show."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ConfigFolder,
    Dataset,
    In,
    MethodName,
    Out,
    ScaleName,
    Seed,
    app,
)
from stclip.errors import ConfigError


@app.command()
def evaluate(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    split: In,
    boxes: In,
    frames: In,
    source: Annotated[list[str], typer.Option(help="Box sources that were scored.")],
    seed: Seed,
    config: ConfigFolder = CONFIG,
) -> None:
    """MAP of a run's score files: metrics.json, replicates, curves, errors, sample predictions."""
    from stclip import config as c
    from stclip.boxes.linking import Linking
    from stclip.evaluate.evaluate import evaluate_run, write_run
    from stclip.evaluate.protocol import PROTOCOLS
    from stclip.evaluate.voting import ASSUMPTIONS
    from stclip.records import LABEL_GROUPS, Boxes, LabelSplit, Scores
    from stclip.report.predictions import PREDICTIONS, write_predictions
    from stclip.runtime.provenance import provenance
    from stclip.tables.main_table import shown_boxes
    from stclip.tracking.wandb_runs import track_evaluation
    from stclip.train.run_folder import run_hash

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    label_split = LabelSplit.read(split)
    scores = {
        (name, group): Scores.read(run / f"scores_{name}_{group}.parquet")
        for name in source
        for group in LABEL_GROUPS
    }
    truth = Boxes.read(boxes)
    metrics, replicates, report = evaluate_run(
        scores,
        ground_truth=truth,
        split=label_split,
        key_frame_stride=data.key_frame_stride,
        protocol=data.protocol,
        linking=Linking() if data.video_map else None,
    )
    about = provenance(settings, dataset=dataset, scale=scale, split=label_split, seed=seed)
    about |= {"key_frame_stride": data.key_frame_stride, "protocol": data.protocol}
    about |= {"detector": data.detector}
    drawn, assumption = shown_boxes(source), settings.assumptions[0]
    title = f"{settings.title}, split {label_split.name}, seed {seed}: unseen classes"
    write_predictions(
        run / PREDICTIONS,
        ASSUMPTIONS[assumption](scores[drawn, "unseen"]),
        truth=truth,
        clips=label_split.unseen_clips,
        stride=data.key_frame_stride,
        protocol=PROTOCOLS[data.protocol],
        frames=frames,
        title=f"{title} on {drawn} boxes, {assumption}",
    )
    write_run(run, metrics, replicates, report, about)
    track_evaluation(run, run=run_hash(settings, label_split, seed))


@app.command("evaluate-file")
def evaluate_file(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="Label split: a number, or a file.")],
    ground_truth: In,
    detections: In,
    out: Out,
    protocol: Annotated[str, typer.Option(help="iclip, tf, hit or act.")] = "iclip",
    iou: Annotated[float, typer.Option(help="IoU that counts as found.", min=0, max=1)] = 0.5,
    labels: Annotated[str, typer.Option(help="unseen, base or all labels.")] = "unseen",
    label_map: Annotated[
        Path | None, typer.Option(help="AVA's list of actions; others do not exist.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="csv `video,timestamp` of frames that do not count.")
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Rows of a frame that are kept, over all classes.", min=1)
    ] = None,
    ignore_unannotated_frames: Annotated[
        bool, typer.Option(help="Rows in frames without ground truth are no false positives.")
    ] = False,
    video_map: Annotated[
        str | None, typer.Option(help="act or multisports: link tubes, add video mAP.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for curves, errors and their figure.")
    ] = None,
    splits: Annotated[Path, typer.Option(help="Folder of the label splits.")] = Path("splits"),
) -> None:
    """Score any method's detections (csv: video,frame,class,score,x1,y1,x2,y2)."""
    from stclip.evaluate.outside import evaluate_file as stage
    from stclip.records import LabelSplit
    from stclip.storage.files import write_json

    path = Path(split) if split.endswith(".json") else splits / dataset / f"{split}.json"
    if not path.exists():
        known = sorted(str(p.relative_to(splits)) for p in splits.glob("*/*.json"))
        raise ConfigError(f"unknown split: {path} does not exist; known in {splits} are {known}.")
    found = stage(
        dataset=dataset,
        split=LabelSplit.read(path),
        ground_truth=ground_truth,
        detections=detections,
        protocol=protocol,
        iou=iou,
        labels=labels,
        label_map=label_map,
        exclude=exclude,
        max_rows=max_rows,
        unannotated_frames="ignore" if ignore_unannotated_frames else "count",
        video_protocol=video_map,
        report=report,
    )
    write_json(out, found)
    typer.echo(f"mAP {100 * found['mAP']:.2f}  ({out})")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run of the same split.")],
    boxes: Annotated[str, typer.Option(help="Box source to compare on.")] = "detected",
    labels: Annotated[str, typer.Option(help="unseen or base.")] = "unseen",
    assumption: Annotated[str, typer.Option(help="independent or voted.")] = "independent",
    second_assumption: Annotated[
        str | None, typer.Option(help="Of the second run, where it differs.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write JSON.")] = None,
) -> None:
    """Difference of two runs' mAP with interval and p-value, paired over videos."""
    from stclip.evaluate.compare import compare_runs
    from stclip.evaluate.evaluate import read_run
    from stclip.storage.files import write_json

    found = compare_runs(
        read_run(first),
        read_run(second),
        boxes=boxes,
        labels=labels,
        assumptions=(assumption, second_assumption or assumption),
    )
    if out:
        write_json(out, found | {"runs": [str(first), str(second)]})
    one, other = found["mAP"]
    low, high = found["interval"]
    typer.echo(
        f"{100 * one:.2f} - {100 * other:.2f} = {100 * found['difference']:+.2f} mAP, 95% interval "
        f"[{100 * low:+.2f}, {100 * high:+.2f}], p = {found['p_value']:.3g} "
        f"({boxes} boxes, {labels} labels, {found['replicates']} replicates)"
    )


@app.command()
def tables(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    dataset: Dataset,
    scale: ScaleName,
    published: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Table 2 from metrics.json files: csv, md, tex and a figure of the errors."""
    from stclip import config as c
    from stclip.evaluate.evaluate import read_run
    from stclip.tables import main_table as t
    from stclip.tables.error_table import read_errors, write_comparison
    from stclip.tables.table_files import write_table

    runs = [read_run(path.parent) for path in metrics]
    data = c.load_dataset(config, dataset, scale=scale)
    paper = c.read_yaml(published) if c.load_scale(config, scale).published else None
    frame = t.build_table2(
        [run for run, _ in runs], [r for _, r in runs], splits=data.splits, published=paper
    )
    errors = [read_errors(path.parent) for path in metrics]
    write_comparison([run for run, _ in runs], errors, out)
    caption = (
        f"{data.title} (scale {scale}): frame mAP@0.5 in percent of unseen classes on detected "
        "boxes, by label split. avg: their mean, with its interval over test videos; H: harmonic "
        "mean of avg and of that of the base classes; *: on ground-truth boxes; voted: with the "
        "single-action assumption."
    )
    write_table(frame, out, caption=caption)


@app.command()
def ablation(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    table: Annotated[str, typer.Option(help="A file of config/tables.")],
    scale: ScaleName,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """A table of config/tables from metrics.json files: csv, md, tex."""
    from stclip import config as c
    from stclip.config.table import load_table
    from stclip.evaluate.evaluate import read_run
    from stclip.tables.ablation_table import build_ablation
    from stclip.tables.table_files import write_table

    settings = load_table(config, table, scale=scale)
    runs = [read_run(path.parent) for path in metrics]
    frame = build_ablation(
        settings,
        [run for run, _ in runs],
        [replicates for _, replicates in runs],
        published=c.load_scale(config, scale).published,
    )
    caption = f"{settings.title} (scale {scale}). {settings.note}"
    write_table(frame, out, text_columns=1, caption=caption)


@app.command()
def summary(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    out: Out,
) -> None:
    """A JSON of means for each method, with csv files to plot beside their folder."""
    from stclip.storage.files import read_json
    from stclip.tables.summary import write_summary

    write_summary([read_json(path) for path in metrics], out)


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="A csv that `stclip tables` wrote.")],
    into: Annotated[Path | None, typer.Option(help="A document with markers.")] = None,
) -> None:
    """Print a table on the terminal, or put it into a document between its markers."""
    from stclip.tables.table_files import put_into, read_table, render_text

    frame = read_table(table)
    if into is None:
        typer.echo(render_text(frame))
    else:
        put_into(into, frame, marker=table.stem)
