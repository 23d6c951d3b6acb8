"""What makes a run: train, score."""

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
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Train a method on the base classes of a split."""
    from stclip.config import load_method
    from stclip.records import Boxes, Clips, LabelSplit

    settings = load_method(config, method, dataset=dataset, scale=scale)
    label_split = LabelSplit.read(split)
    if not settings.train.iterations:
        from stclip.runs import write_untrained

        write_untrained(settings, split=label_split, seed=seed, out=out)
        return
    from stclip.train import train as stage

    stage(
        settings,
        split=label_split,
        clips=Clips.read(clips),
        ground_truth=Boxes.read(boxes),
        frames=frames,
        seed=seed,
        out=out,
        workers=workers,
    )


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
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Score each box of the test clips against the unseen and the base labels."""
    from stclip import config as c
    from stclip.records import Boxes, Clips, Detections, LabelSplit

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    from stclip.score import score as stage

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
        seed=seed,
        out=out,
        workers=workers,
    )
