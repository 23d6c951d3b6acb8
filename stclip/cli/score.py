"""Weights and boxes to class probabilities: score."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    DetectionsFile,
    FeatureFiles,
    FramesFolder,
    KeyFramesFile,
    MethodName,
    ObjectsFile,
    Out,
    ScaleName,
    Seed,
    Sources,
    SplitFile,
    Workers,
    app,
    read_data,
)


@app.command()
def score(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    weights: Annotated[Path, typer.Option(help="weights.safetensors from `stclip train`.")],
    split: SplitFile,
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    source: Sources,
    seed: Seed,
    out: Out,
    detections: DetectionsFile = None,
    features: FeatureFiles = None,
    objects: ObjectsFile = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Score each box of the test clips against the unseen and the base labels."""
    from stclip import config as c
    from stclip.records import LabelSplit

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    about = c.load_dataset(config, dataset, scale=scale)
    from stclip.score.score import score as stage

    stage(
        settings,
        read_data(
            clips, boxes, key_frames, frames, detections=detections, objects=objects,
            features=features,
        ),
        weights=weights,
        split=LabelSplit.read(split),
        sources={name: c.pick(about.boxes, name, what="box source") for name in source},
        together=about.scored_labels == "together",
        seed=seed,
        out=out,
        workers=workers,
    )  # fmt: skip
