"""Boxes of persons and objects: finetune, detect, quality."""

from pathlib import Path
from typing import Annotated, Any

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    DetectorName,
    FramesFolder,
    KeyFramesFile,
    Out,
    ScaleName,
    SplitFile,
    Workers,
    app,
    read_data,
)
from stclip.errors import ConfigError


@app.command()
def finetune(
    detector: DetectorName,
    scale: ScaleName,
    split: SplitFile,
    clips: ClipsFile,
    boxes: BoxesFile,
    frames: FramesFolder,
    out: Out,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fine-tune a person detector on the training clips of a split."""
    from stclip import config as c
    from stclip.records import Boxes, Clips, LabelSplit

    settings = c.load_detector(config, detector, scale=scale)
    from stclip.detect.backends.backend import files_of
    from stclip.detect.finetune import finetune as stage

    stage(
        settings,
        files=files_of(settings),
        split=LabelSplit.read(split),
        clips=Clips.read(clips),
        ground_truth=Boxes.read(boxes),
        frames=frames,
        out=out,
        workers=workers,
        version=c.load_version(config, "finetune"),
    )


@app.command()
def detect(
    detector: DetectorName,
    dataset: Dataset,
    scale: ScaleName,
    clips: ClipsFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    out: Out,
    weights: Annotated[
        Path | None, typer.Option(help="Of a fine-tuned detector, from `stclip finetune`.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="What it was fine-tuned on.")] = None,
    train_clips: Annotated[
        bool, typer.Option("--train-clips", help="Look at key frames of training clips too.")
    ] = False,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Box every person (or object, as the detector is set) on the key frames of the tested clips.

    A fine-tuned detector needs weights and split.
    """
    from stclip import config as c
    from stclip.records import Clips, KeyFrames, LabelSplit

    settings = c.load_detector(config, detector, scale=scale)
    if settings.datasets and dataset not in settings.datasets:
        raise ConfigError(
            f"detector {detector!r} has no boxes for {dataset!r}, only for {settings.datasets}."
        )
    from stclip.detect.backends.backend import files_of

    files = files_of(settings)
    if weights is not None:
        files["weights"] = weights
    if settings.finetune is not None:
        if weights is None or split is None:
            raise ConfigError(
                f"detector {detector!r} is fine-tuned: --weights and --split must say on what."
            )
        from stclip.detect.finetune import check_finetuned

        check_finetuned(weights, settings, LabelSplit.read(split))
    from stclip.detect.detect import detect as stage

    stage(
        settings,
        files=files,
        clips=Clips.read(clips),
        key_frames=KeyFrames.read(key_frames),
        frames=frames,
        out=out,
        train_clips=train_clips,
        workers=workers,
        version=c.load_version(config, "detect"),
    )


@app.command()
def quality(
    detections: Annotated[
        list[str], typer.Argument(help="NAME=FILE of each detector, NAME:SPLIT=FILE if fine-tuned.")
    ],
    dataset: Dataset,
    scale: ScaleName,
    split: Annotated[list[Path], typer.Option(help="Label splits with their clips.")],
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Judge person boxes: AP, recall, and the ceiling they set for a perfect classifier."""
    from stclip import config as c
    from stclip.detect.quality import box_filters, measure, measure_ground_truth, write_quality
    from stclip.records import Detections, LabelSplit

    settings = c.load_dataset(config, dataset, scale=scale)
    splits = [LabelSplit.read(path) for path in split]
    data = read_data(clips, boxes, key_frames, Path())  # no picture is looked at
    judged: dict[str, Any] = {"splits": splits, "together": settings.scored_labels == "together"}
    rows = measure_ground_truth(data, sources=settings.boxes, **judged)
    for name, paths in _by_detector(detections, [s.name for s in splits]).items():
        tables = {path: Detections.read(path) for path in dict.fromkeys(paths.values())}
        boxes_of_split = {s: tables[path] for s, path in paths.items()}
        filters = box_filters(settings.boxes)
        rows += measure(name, boxes_of_split, data, filters=filters, **judged)
    about = {"scale": scale, "dataset": dataset, "title": settings.title}
    about["benchmark"] = settings.benchmark_of(settings.family)
    write_quality(out, rows, about | {"splits": [s.name for s in splits]})


def _by_detector(arguments: list[str], splits: list[str]) -> dict[str, dict[str, Path]]:
    """Detector -> split -> file; one file serves all splits unless it names its own."""
    files: dict[str, dict[str, Path]] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        detector, _, split = name.partition(":")
        if not (equals and detector and path) or (split and split not in splits):
            raise ConfigError(
                f"{argument!r}: expected NAME=FILE or NAME:SPLIT=FILE with a split of {splits}."
            )
        files.setdefault(detector, {}).update(
            {s: Path(path) for s in ([split] if split else splits)}
        )
    for detector, paths in files.items():
        missing = [s for s in splits if s not in paths]
        if missing:
            raise ConfigError(f"detector {detector!r}: no file for the splits {missing}.")
    return files
