"""Draw the miniature and train what it needs."""

from pathlib import Path
from typing import TYPE_CHECKING

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    FramesFolder,
    Out,
    ScaleName,
    Workers,
    mini_app,
)

if TYPE_CHECKING:
    from stclip.config import Miniature


@mini_app.command("render")
def mini_render(
    scale: ScaleName,
    dataset: Dataset,
    out: Out,
    workers: Workers = 1,
    config: ConfigFolder = CONFIG,
) -> None:
    """Draw a data set and write its archives in the official layout."""
    from stclip import config as c
    from stclip.config.resolved import as_resolved
    from stclip.config.target import resolve_target

    recipes = c.load_scale(config, scale).miniature.render
    recipe = c.pick(recipes, dataset, what=f"data set that scale {scale} draws")
    as_resolved(f"rendering of {dataset} at scale {scale}", recipe)
    resolve_target(recipe.target)(out, workers=workers, **recipe.params)


@mini_app.command("clip")
def mini_clip(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Pre-train the tiny CLIP on drawn stills with captions."""
    from stclip.mini.tiny_clip import pretrain

    pretrain(out, **_miniature(config, scale).clip)


@mini_app.command("detector")
def mini_detector(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Train the tiny person detector on drawn stills."""
    from stclip.mini.tiny_detector import train_detector

    train_detector(out, **_miniature(config, scale).detector)


@mini_app.command("samples")
def mini_samples(clips: ClipsFile, boxes: BoxesFile, frames: FramesFolder, out: Out) -> None:
    """A contact sheet of videos with their boxes."""
    from stclip.mini.contact_sheet import write_samples
    from stclip.records import Boxes, Clips

    write_samples(Clips.read(clips), Boxes.read(boxes), frames, out)


def _miniature(config: Path, scale: str) -> "Miniature":
    from stclip.config import load_scale
    from stclip.config.resolved import as_resolved

    return as_resolved(f"miniature of scale {scale}", load_scale(config, scale).miniature)
