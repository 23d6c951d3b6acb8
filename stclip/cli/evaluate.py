"""From score files to metrics: evaluate, evaluate-file, compare."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ConfigFolder,
    Dataset,
    KeyFramesFile,
    MethodName,
    Out,
    RunFolder,
    ScaleName,
    Seed,
    Sources,
    SplitFile,
    app,
)
from stclip.errors import ConfigError


@app.command()
def evaluate(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    run: RunFolder,
    split: SplitFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    source: Sources,
    seed: Seed,
    config: ConfigFolder = CONFIG,
) -> None:
    """MAP of a run's score files: metrics.json, replicates, curves, errors."""
    from stclip import config as c
    from stclip.evaluate.evaluate import evaluate_run, write_run
    from stclip.evaluate.rules import assumptions_of, rules_of
    from stclip.records import LABEL_GROUPS, Boxes, KeyFrames, LabelSplit, Scores
    from stclip.runtime.provenance import computed_of, provenance
    from stclip.tracking.wandb_runs import track_evaluation
    from stclip.train.run_folder import run_hash

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    label_split = LabelSplit.read(split)
    frames = KeyFrames.read(key_frames)
    scores = {
        (name, group): Scores.read(run / f"scores_{name}_{group}.parquet")
        for name in source
        for group in LABEL_GROUPS
    }
    metrics, replicates, breakdown = evaluate_run(
        scores,
        ground_truth=Boxes.read(boxes),
        key_frames=frames,
        split=label_split,
        rules=rules_of(data, frames),
    )
    about = provenance(settings, data, scale=scale, split=label_split, seed=seed)
    about |= {"assumptions": assumptions_of(settings.assumptions, data)}
    about |= {"judged_by": [metric.model_dump(mode="json") for metric in data.metrics]}
    about |= {"key_frames": data.key_frames.model_dump(mode="json"), "detector": data.detector}
    about |= computed_of(run / f"scores_{name}_{group}.parquet" for name, group in scores)
    write_run(run, metrics, replicates, breakdown, about)
    track_evaluation(run, run=run_hash(settings, label_split, seed))


@app.command("evaluate-file")
def evaluate_file(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="Label split: a number, or a file.")],
    ground_truth: Annotated[Path, typer.Option(help="Published annotations, as a file.")],
    detections: Annotated[Path, typer.Option(help="csv: video,frame,class,score,x1,y1,x2,y2.")],
    out: Out,
    protocol: Annotated[str, typer.Option(help="iclip, tf, activitynet, hit or act.")] = "iclip",
    iou: Annotated[float, typer.Option(help="IoU that counts as found.", min=0, max=1)] = 0.5,
    labels: Annotated[str, typer.Option(help="unseen, base or all labels.")] = "unseen",
    label_map: Annotated[
        Path | None, typer.Option(help="AVA's actions, number to name; others do not exist.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="csv `video,timestamp` of frames that do not count.")
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Rows of a frame that are kept, over all classes.", min=1)
    ] = None,
    ignore_unannotated_frames: Annotated[
        bool, typer.Option(help="Rows in frames that the ground truth does not list do not count.")
    ] = False,
    video_map: Annotated[
        str | None, typer.Option(help="act or multisports: link tubes, add video mAP.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for curves, errors and their figure.")
    ] = None,
    family: Annotated[str, typer.Option(help="Family of label splits.")] = "st-clip",
    splits: Annotated[Path, typer.Option(help="Folder of the label splits.")] = Path("splits"),
) -> None:
    """Score any method's detections (csv: video,frame,class,score,x1,y1,x2,y2)."""
    from stclip.evaluate.outside import evaluate_file as stage
    from stclip.records import LabelSplit
    from stclip.storage.files import write_json

    path = Path(split) if split.endswith(".json") else splits / dataset / family / f"{split}.json"
    if not path.exists():
        known = sorted(str(p.relative_to(splits)) for p in splits.glob("*/*/*.json"))
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
        unannotated_frames="ignore" if ignore_unannotated_frames else None,
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
    labels: Annotated[
        str, typer.Option(help="unseen or base; all, if judged together.")
    ] = "unseen",
    label_group: Annotated[
        str | None, typer.Option(help="Of the data set's label_groups: those of these labels.")
    ] = None,
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
        label_group=label_group,
        assumptions=(assumption, second_assumption or assumption),
    )
    if out:
        write_json(out, found | {"runs": [str(first), str(second)]})
    one, other = found["mAP"]
    low, high = found["interval"]
    shown = f"{labels} labels" if label_group is None else f"{labels} labels of group {label_group}"
    typer.echo(
        f"{100 * one:.2f} - {100 * other:.2f} = {100 * found['difference']:+.2f} mAP, 95% interval "
        f"[{100 * low:+.2f}, {100 * high:+.2f}], p = {found['p_value']:.3g} "
        f"({boxes} boxes, {shown}, {found['replicates']} replicates)"
    )
