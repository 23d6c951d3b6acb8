"""What a frozen CLIP makes of frames and boxes: features."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ClipsFile,
    ConfigFolder,
    Dataset,
    FramesFolder,
    MethodName,
    Out,
    ScaleName,
    Workers,
    app,
)
from stclip.errors import ConfigError


@app.command()
def features(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    clips: ClipsFile,
    frames: FramesFolder,
    out: Out,
    table: Annotated[
        Path | None,
        typer.Option(help="Encode the boxes of this table, cut out, not whole frames."),
    ] = None,
    key_frames: Annotated[
        Path | None, typer.Option(help="With --table: the boxes on these frames are encoded.")
    ] = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Encode a data set's frames, or boxes, by a method's frozen CLIP, once for all like it."""
    from stclip import config as c
    from stclip.features.encode import write_box_features, write_frame_features
    from stclip.methods.clip.backbone import backbone_of
    from stclip.records import Clips, KeyFrames, read_boxes

    if (table is None) != (key_frames is None):
        raise ConfigError("--table and --key-frames: give both for boxes, none for whole frames.")
    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    backbone, known = backbone_of(settings), Clips.read(clips)
    if table is None or key_frames is None:
        write_frame_features(backbone, settings, known, frames=frames, out=out, workers=workers)
    else:
        write_box_features(
            backbone, settings, known, key_frames=KeyFrames.read(key_frames),
            table=read_boxes(table), frames=frames, out=out, workers=workers,
        )  # fmt: skip
