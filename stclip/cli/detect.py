"""Boxes of persons and objects: finetune, detect, quality, detectors."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ConfigFolder,
    Dataset,
    DetectorName,
    In,
    OptionalIn,
    Out,
    ScaleName,
    Workers,
    app,
)
from stclip.errors import ConfigError


@app.command()
def finetune(
    detector: DetectorName,
    scale: ScaleName,
    split: In,
    clips: In,
    boxes: In,
    frames: In,
    out: Out,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fine-tune a person detector on the training clips of a split."""
    from stclip import config as c
    from stclip.records import Boxes, Clips, LabelSplit

    settings = c.pick(c.load_scale(config, scale).detectors, detector, what="detector")
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
    )


@app.command()
def detect(
    detector: DetectorName,
    dataset: Dataset,
    scale: ScaleName,
    clips: In,
    frames: In,
    out: Out,
    weights: OptionalIn = None,
    split: OptionalIn = None,
    train_clips: Annotated[
        bool, typer.Option("--train-clips", help="Also look at every frame of the training clips.")
    ] = False,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Box every person (or object, as the detector is set) on the key frames of the test clips.

    A fine-tuned detector needs weights and split.
    """
    from stclip import config as c
    from stclip.records import Clips, LabelSplit

    settings = c.pick(c.load_scale(config, scale).detectors, detector, what="detector")
    stride = c.load_dataset(config, dataset, scale=scale).key_frame_stride
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
        frames=frames,
        key_frame_stride=stride,
        out=out,
        train_clips=train_clips,
        workers=workers,
    )


@app.command()
def quality(
    detections: Annotated[
        list[str], typer.Argument(help="NAME=FILE of each detector, NAME:SPLIT=FILE if fine-tuned.")
    ],
    dataset: Dataset,
    scale: ScaleName,
    split: Annotated[list[Path], typer.Option(help="Label splits with their clips.")],
    clips: In,
    boxes: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Judge person boxes: AP, recall, and the ceiling they set for a perfect classifier."""
    from stclip import config as c
    from stclip.detect.quality import box_filters, measure, measure_ground_truth
    from stclip.records import Boxes, Clips, Detections, LabelSplit
    from stclip.tables.detector_table import write_quality

    settings = c.load_dataset(config, dataset, scale=scale)
    splits = [LabelSplit.read(path) for path in split]
    known, truth = Clips.read(clips), Boxes.read(boxes)
    rows = measure_ground_truth(
        sources=settings.boxes, ground_truth=truth, clips=known, splits=splits,
        key_frame_stride=settings.key_frame_stride,
    )  # fmt: skip
    for name, paths in _by_detector(detections, [s.name for s in splits]).items():
        tables = {path: Detections.read(path) for path in dict.fromkeys(paths.values())}
        rows += measure(
            name, {s: tables[path] for s, path in paths.items()},
            filters=box_filters(settings.boxes), ground_truth=truth, clips=known, splits=splits,
            key_frame_stride=settings.key_frame_stride,
        )  # fmt: skip
    about = {"scale": scale, "dataset": dataset, "title": settings.title}
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


@app.command()
def detectors(
    measured: Annotated[list[Path], typer.Argument(help="Files that `stclip quality` wrote.")],
    scale: ScaleName,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """The table of detectors: csv, md and tex; the paper's gap beside it at its own scale."""
    from stclip import config as c
    from stclip.tables.detector_table import build_detectors, published_shares, read_quality
    from stclip.tables.table_files import write_table

    contents = [read_quality(path) for path in measured]
    shares = {}
    for about, _ in contents:
        settings = c.load_dataset(config, about["dataset"], scale=scale)
        if c.load_scale(config, scale).published and settings.published:
            values = c.read_yaml(config / "published" / f"{settings.published}.yaml")
            shares[about["dataset"]] = published_shares(values, about["splits"])
    caption = (
        f"Person boxes of the test clips (scale {scale}), in percent. Ceiling: unseen mAP of a "
        "classifier that is always right on them, by label split."
    )
    write_table(build_detectors(contents, shares), out, caption=caption)
