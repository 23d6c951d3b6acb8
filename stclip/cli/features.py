"""What a frozen CLIP makes of frames and boxes: features."""

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
    Out,
    ScaleName,
    Workers,
    app,
    read_data,
)


@app.command()
def features(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    out: Out,
    table: Annotated[
        Path | None,
        typer.Option(help="Encode the boxes of this table, cut out, not whole frames."),
    ] = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Encode a data set's frames, or boxes, by a method's frozen CLIP, once for all like it."""
    from stclip import config as c
    from stclip.features.encode import write_box_features, write_frame_features
    from stclip.methods.clip.backbone import load_backbone
    from stclip.records import read_boxes

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = read_data(clips, boxes, key_frames, frames)
    backbone = load_backbone(settings.backbone)
    if table is None:
        write_frame_features(backbone, settings, data, out=out, workers=workers)
    else:
        boxes_to_encode = read_boxes(table)
        write_box_features(
            backbone, settings, data, table=boxes_to_encode, out=out, workers=workers
        )
