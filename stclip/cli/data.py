"""From archive to label split: download, prepare, splits."""

import logging
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ConfigFolder,
    Count,
    Dataset,
    In,
    Name,
    Out,
    ScaleName,
    Seed,
    app,
    splits_app,
)

logger = logging.getLogger("stclip")


@app.command()
def download(
    name: Annotated[str, typer.Option(help="Archive of the data set, or model of the scale.")],
    scale: ScaleName,
    out: Out,
    dataset: Annotated[str | None, typer.Option(help="A file of config/datasets.")] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fetch one archive or model file, resume what was begun, verify its checksum."""
    from stclip import config as c
    from stclip import download as stage

    if dataset:
        data = c.load_dataset(config, dataset, scale=scale)
        logger.info("%s. Licence: %s Cite: %s", data.title, data.licence, data.citation)
        sources = data.archives
    else:
        sources = c.load_scale(config, scale).models
    stage.download(c.pick(sources, name, what="source"), out)


@app.command()
def prepare(
    dataset: Dataset, scale: ScaleName, raw: In, out: Out, config: ConfigFolder = CONFIG
) -> None:
    """Read the official archives: clips.parquet, boxes.parquet and frames."""
    from stclip import config as c
    from stclip.targets import resolve_target

    settings = c.load_dataset(config, dataset, scale=scale)
    resolve_target(settings.target)(raw, out, **settings.params)


@splits_app.command("resolve")
def splits_resolve(split: In, clips: In, out: Out) -> None:
    """Fill a label split with the clips that its classes and the official split select."""
    from stclip.records import Clips, LabelSplit
    from stclip.splits import resolve_split

    resolve_split(LabelSplit.read(split), Clips.read(clips)).write(out)


@splits_app.command("make")
def splits_make(
    clips: In, dataset: Dataset, name: Name, num_unseen: Count, seed: Seed, out: Out
) -> None:
    """Draw a new seeded label split from the classes of a data set."""
    from stclip.records import Clips
    from stclip.splits import labels_of, make_split

    made = make_split(
        labels_of(Clips.read(clips)), name=name, dataset=dataset, num_unseen=num_unseen, seed=seed
    )
    made.write(out)
