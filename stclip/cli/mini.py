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
    Recipe,
    ScaleName,
    Seed,
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
    from stclip.config.target import call_target

    recipes = c.load_scale(config, scale).miniature.render
    recipe = c.pick(recipes, dataset, what=f"data set that scale {scale} draws")
    as_resolved(f"rendering of {dataset} at scale {scale}", recipe)
    where = f"scale {scale}: miniature.render.{dataset}"
    call_target(recipe.target, out, params=recipe.params, where=where, workers=workers)


@mini_app.command("weights")
def mini_weights(scale: ScaleName, name: Recipe, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Write random weights as somebody publishes real ones, and a listing of their checksum."""
    from stclip.config import pick
    from stclip.config.target import call_target
    from stclip.mini.archive_files import write_listing

    recipe = pick(_miniature(config, scale).weights, name, what=f"weights that scale {scale} draws")
    where = f"scale {scale}: miniature.weights.{name}"
    call_target(recipe.target, out, params=recipe.params, where=where)
    write_listing(out.parent, [name], listing=f"{name}.sha256")


@mini_app.command("clip")
def mini_clip(scale: ScaleName, name: Recipe, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Pre-train a tiny CLIP on drawn stills with captions."""
    from stclip.config import pick
    from stclip.mini.tiny_clip import pretrain

    recipes = _miniature(config, scale).clips
    pretrain(out, pick(recipes, name, what=f"tiny CLIP of scale {scale}"))


@mini_app.command("detector")
def mini_detector(scale: ScaleName, name: Recipe, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Train a tiny person detector on drawn stills."""
    from stclip.config import pick
    from stclip.mini.tiny_detector import train_detector

    recipes = _miniature(config, scale).detectors
    train_detector(out, pick(recipes, name, what=f"tiny detector of scale {scale}"))


@mini_app.command("samples")
def mini_samples(clips: ClipsFile, boxes: BoxesFile, frames: FramesFolder, out: Out) -> None:
    """A contact sheet of videos with their boxes."""
    from stclip.mini.contact_sheet import write_samples
    from stclip.records import Boxes, Clips

    write_samples(Clips.read(clips), Boxes.read(boxes), frames, out)


@mini_app.command("videos")
def mini_videos(out: Out, seed: Seed = 0) -> None:
    """Draw twenty videos with annotations, as somebody's own data (docs/own-data.md)."""
    from stclip.mini.example_videos import draw_example

    draw_example(out, seed=seed)


def _miniature(config: Path, scale: str) -> "Miniature":
    from stclip.config import load_scale
    from stclip.config.resolved import as_resolved

    return as_resolved(f"miniature of scale {scale}", load_scale(config, scale).miniature)
