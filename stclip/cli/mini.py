"""Draw the miniature and train what it needs."""

from stclip.cli.options import CONFIG, ConfigFolder, In, Out, ScaleName, Workers, mini_app


@mini_app.command("render")
def mini_render(
    scale: ScaleName, out: Out, workers: Workers = 1, config: ConfigFolder = CONFIG
) -> None:
    """Draw mini J-HMDB and write its archives in the official layout."""
    from stclip import config as c
    from stclip.mini.jhmdb_archives import render_jhmdb

    recipe = c.pick(c.load_scale(config, scale).miniature, "render", what="miniature recipe")
    render_jhmdb(out, workers=workers, **recipe)


@mini_app.command("clip")
def mini_clip(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Pre-train the tiny CLIP on drawn stills with captions."""
    from stclip import config as c
    from stclip.mini.tiny_clip import pretrain

    recipe = c.pick(c.load_scale(config, scale).miniature, "clip", what="miniature recipe")
    pretrain(out, **recipe)


@mini_app.command("detector")
def mini_detector(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Train the tiny person detector on drawn stills."""
    from stclip import config as c
    from stclip.mini.tiny_detector import train_detector

    recipe = c.pick(c.load_scale(config, scale).miniature, "detector", what="miniature recipe")
    train_detector(out, **recipe)


@mini_app.command("samples")
def mini_samples(clips: In, boxes: In, frames: In, out: Out) -> None:
    """A contact sheet of videos with their boxes."""
    from stclip.mini.contact_sheet import write_samples
    from stclip.records import Boxes, Clips

    write_samples(Clips.read(clips), Boxes.read(boxes), frames, out)
