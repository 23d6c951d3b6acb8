"""From score files to tables: evaluate, evaluate-file, tables, show."""

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
    source: Annotated[list[str], typer.Option(help="Box sources that were scored.")],
    seed: Seed,
    config: ConfigFolder = CONFIG,
) -> None:
    """Frame mAP of a run's score files, with intervals: metrics.json and replicates.parquet."""
    from stclip import config as c
    from stclip.evaluate.run import evaluate_run, write_run
    from stclip.provenance import provenance
    from stclip.records import LABEL_GROUPS, Boxes, LabelSplit, Scores

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    label_split = LabelSplit.read(split)
    scores = {
        (name, group): Scores.read(run / f"scores_{name}_{group}.parquet")
        for name in source
        for group in LABEL_GROUPS
    }
    metrics, replicates = evaluate_run(
        scores,
        ground_truth=Boxes.read(boxes),
        split=label_split,
        key_frame_stride=data.key_frame_stride,
    )
    about = provenance(settings, dataset=dataset, scale=scale, split=label_split, seed=seed)
    about |= {"key_frame_stride": data.key_frame_stride}
    write_run(run, metrics, replicates, about)


@app.command("evaluate-file")
def evaluate_file(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="Label split: a number, or a file.")],
    ground_truth: In,
    detections: In,
    out: Out,
    protocol: Annotated[str, typer.Option(help="Rules of matching and of AP.")] = "iclip",
    iou: Annotated[float, typer.Option(help="IoU that counts as found.", min=0, max=1)] = 0.5,
    splits: Annotated[Path, typer.Option(help="Folder of the label splits.")] = Path("splits"),
) -> None:
    """Score any method's detections (csv: video,frame,class,score,x1,y1,x2,y2; frame from 1)."""
    from stclip.evaluate.outside import evaluate_file as stage
    from stclip.files import write_json
    from stclip.records import LabelSplit

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
    )
    write_json(out, found)
    typer.echo(f"mAP {100 * found['mAP']:.2f}  ({out})")


@app.command()
def tables(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    dataset: Dataset,
    scale: ScaleName,
    published: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Table 2 from metrics.json files: csv, md and tex; the paper's values at its own scale."""
    from stclip import config as c
    from stclip import tables as t
    from stclip.evaluate.run import read_run

    runs = [read_run(path.parent) for path in metrics]
    splits = c.load_dataset(config, dataset, scale=scale).splits
    paper = c.read_yaml(published) if c.load_scale(config, scale).published else None
    frame = t.build_table2(
        [run for run, _ in runs], [r for _, r in runs], splits=splits, published=paper
    )
    t.write_table(frame, out)


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="A csv that `stclip tables` wrote.")],
    into: Annotated[Path | None, typer.Option(help="A document with markers.")] = None,
) -> None:
    """Print a table on the terminal, or put it into a document between its markers."""
    from stclip.tables import put_into, read_table, render_text

    frame = read_table(table)
    if into is None:
        typer.echo(render_text(frame))
    else:
        put_into(into, frame, marker=table.stem)
