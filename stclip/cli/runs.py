"""What makes a run and what it costs: features, train, import-checkpoint, score, complexity."""

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
    Workers,
    app,
)
from stclip.errors import ConfigError

FEATURES_OF = ("frames", "ground_truth", "detections", "objects")
StoredFeatures = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        help="KIND=FILE of the features stage, where the method reads it: frames, ground_truth, "
        "detections, objects.",
    ),
]
ObjectBoxes = Annotated[
    Path | None, typer.Option("--objects", help="Boxes of objects, where the method reads them.")
]


def by_kind(options: list[str] | None) -> dict[str, Path]:
    """KIND=FILE options as a mapping; what stands before a colon is not looked at."""
    pairs = [option.rpartition(":")[2].partition("=") for option in options or []]
    wrong = [kind for kind, _, path in pairs if kind not in FEATURES_OF or not path]
    if wrong:
        raise ConfigError(f"--features: {wrong}: give KIND=FILE, KIND one of {FEATURES_OF}.")
    return {kind: Path(path) for kind, _, path in pairs}


@app.command()
def features(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    clips: In,
    frames: In,
    out: Out,
    boxes: Annotated[
        Path | None, typer.Option(help="Encode these boxes, cut out, not whole frames.")
    ] = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Encode a data set's frames, or boxes, by a method's frozen CLIP, once for all like it."""
    from stclip import config as c
    from stclip.features.encode import write_box_features, write_frame_features
    from stclip.methods.clip.backbone import load_backbone
    from stclip.records import Clips, read_boxes

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    backbone, all_clips = load_backbone(settings.backbone), Clips.read(clips)
    if boxes is None:
        write_frame_features(
            backbone, settings, clips=all_clips, frames=frames, out=out, workers=workers
        )
        return
    stride = c.load_dataset(config, dataset, scale=scale).key_frame_stride
    write_box_features(
        backbone,
        settings,
        table=read_boxes(boxes),
        clips=all_clips,
        stride=stride,
        frames=frames,
        out=out,
        workers=workers,
    )


@app.command()
def train(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    split: In,
    clips: In,
    boxes: In,
    frames: In,
    seed: Seed,
    out: Out,
    stored: StoredFeatures = None,
    objects: ObjectBoxes = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Train a method on the base classes of a split."""
    from stclip.config import load_method
    from stclip.records import Boxes, Clips, Detections, LabelSplit

    settings = load_method(config, method, dataset=dataset, scale=scale)
    label_split = LabelSplit.read(split)
    if not settings.train.iterations:
        from stclip.train.run_folder import write_untrained

        write_untrained(settings, split=label_split, seed=seed, out=out)
        return
    from stclip.runtime.provenance import provenance
    from stclip.tracking.wandb_runs import tracked
    from stclip.train.run_folder import run_hash

    head = provenance(settings, dataset=dataset, scale=scale, split=label_split, seed=seed)
    with tracked("train", head, run=run_hash(settings, label_split, seed)) as tracker:
        from stclip.train.train import train as stage

        stage(
            settings,
            split=label_split,
            clips=Clips.read(clips),
            ground_truth=Boxes.read(boxes),
            frames=frames,
            features=by_kind(stored),
            objects=Detections.read(objects) if objects else None,
            seed=seed,
            out=out,
            workers=workers,
            track=tracker.rows,
        )


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the official training code.")],
    method: MethodName,
    out: Annotated[Path, typer.Option(help="A .safetensors file, or with --split a run's folder.")],
    dataset: Dataset = "jhmdb",
    scale: ScaleName = "paper",
    split: Annotated[
        Path | None, typer.Option(help="A split with its clips: write a run to be scored.")
    ] = None,
    seed: Seed = 0,
    backbone: Annotated[
        str | None, typer.Option(help="Another of the scale's backbones, as ViT-L-14; no --split.")
    ] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Take over the authors' weights: as a file, or as the run of a split that can be scored."""
    from stclip.config import load_method, load_scale, pick
    from stclip.records import LabelSplit
    from stclip.train.import_run import import_run, import_weights

    settings = load_method(config, method, dataset=dataset, scale=scale)
    if backbone is not None:
        if split is not None:
            raise ConfigError(
                "--backbone changes what a run is made of: set `backbone` of the method in "
                f"config/scales/{scale}.yaml to import a run."
            )
        other = pick(load_scale(config, scale).backbones, backbone, what="backbone")
        settings = settings.model_copy(update={"backbone": other})
    if split is None:
        import_weights(file, settings, out)
    else:
        import_run(file, settings, split=LabelSplit.read(split), seed=seed, out=out)


@app.command()
def score(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    weights: In,
    split: In,
    clips: In,
    boxes: In,
    detections: In,
    frames: In,
    source: Annotated[list[str], typer.Option(help="Box sources of the data set to score.")],
    seed: Seed,
    out: Out,
    stored: StoredFeatures = None,
    objects: ObjectBoxes = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Score each box of the test clips against the unseen and the base labels."""
    from stclip import config as c
    from stclip.records import Boxes, Clips, Detections, LabelSplit

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    from stclip.score.score import score as stage

    stage(
        settings,
        weights=weights,
        split=LabelSplit.read(split),
        clips=Clips.read(clips),
        ground_truth=Boxes.read(boxes),
        detections=Detections.read(detections),
        sources={name: c.pick(data.boxes, name, what="box source") for name in source},
        key_frame_stride=data.key_frame_stride,
        frames=frames,
        features=by_kind(stored),
        objects=Detections.read(objects) if objects else None,
        seed=seed,
        out=out,
        workers=workers,
    )


@app.command()
def costs(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    dataset: Dataset,
    scale: ScaleName,
    method: Annotated[list[str], typer.Option(help="Methods to measure.")],
    split: In,
    clips: In,
    boxes: In,
    frames: In,
    published: In,
    out: Out,
    features: Annotated[
        list[str] | None, typer.Option(help="METHOD:KIND=FILE of the features stage.")
    ] = None,
    objects: ObjectBoxes = None,
    steps: Annotated[int, typer.Option(help="Training steps to time.", min=2)] = 10,
    videos: Annotated[int, typer.Option(help="Test videos to score.", min=1)] = 10,
    config: ConfigFolder = CONFIG,
) -> None:
    """Table 10: measure what every method costs, alone on this machine."""
    from stclip import config as c
    from stclip.costs.measure import VIDEO_FRAMES, measure
    from stclip.records import Boxes, Clips, Detections, LabelSplit
    from stclip.runtime.device import machine
    from stclip.runtime.provenance import provenance
    from stclip.storage.files import read_json
    from stclip.tables.cost_table import build_costs, numbers_of_cost
    from stclip.tables.table_files import write_table
    from stclip.tracking.wandb_runs import numbers_of, tracked
    from stclip.train.run_folder import run_hash

    label_split, all_clips, truth = LabelSplit.read(split), Clips.read(clips), Boxes.read(boxes)
    found_objects = Detections.read(objects) if objects else None
    splits = c.load_dataset(config, dataset, scale=scale).splits
    runs = [read_json(path) for path in metrics]
    found = []
    for name in method:
        settings = c.load_method(config, name, dataset=dataset, scale=scale)
        found.append(
            measure(
                settings,
                split=label_split,
                clips=all_clips,
                ground_truth=truth,
                frames=frames,
                features=by_kind(
                    [f.removeprefix(f"{name}:") for f in features or [] if f.startswith(f"{name}:")]
                ),
                objects=found_objects if settings.objects else None,
                steps=steps,
                videos=videos,
            )
        )
        head = provenance(settings, dataset=dataset, scale=scale, split=label_split, seed=0)
        head["on"] = machine()
        with tracked("costs", head, run=run_hash(settings, label_split, 0)) as tracker:
            tracker.results(numbers_of({"costs": numbers_of_cost(found[-1], runs, splits=splits)}))
    frame = build_costs(
        found,
        runs,
        splits=splits,
        scale=scale,
        where=machine(),
        published=c.read_yaml(published) if c.load_scale(config, scale).published else None,
    )
    caption = (
        f"What the methods cost (scale {scale}): multiply-adds of a video of {VIDEO_FRAMES} frames "
        "with one person; training from stored features where a method reads them, scoring from "
        "pictures."
    )
    write_table(frame, out, text_columns=1, caption=caption)


@app.command()
def complexity(
    method: MethodName = "st_clip",
    backbone: Annotated[str, typer.Option(help="An open_clip model.")] = "ViT-B-16",
    persons: Annotated[int, typer.Option(help="Boxes of a key frame.", min=1)] = 1,
    labels: Annotated[int, typer.Option(help="Class names.", min=1)] = 6,
    key_frames: Annotated[int, typer.Option(help="Key frames of a video.", min=1)] = 1,
    interest_tokens: Annotated[
        int, typer.Option(help="K of interest token spotting; 0 without.", min=0)
    ] = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Multiply-adds of a method as published, by part, in G."""
    from stclip.errors import ConfigError
    from stclip.methods.build import method_class
    from stclip.methods.layers.multiply_adds import tower_of

    count = method_class(method, config=config).key_frame_macs
    if count is None:
        raise ConfigError(f"method {method!r} does not say what it costs.")
    parts = count(
        tower_of(backbone), persons=persons, labels=labels, interest_tokens=interest_tokens
    )
    for part, macs in {**parts, "total": sum(parts.values())}.items():
        typer.echo(f"{part:28} {key_frames * macs / 1e9:10.2f} G")
