"""Archives and models: download."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, Out, ScaleName, app

logger = logging.getLogger("stclip")


@app.command()
def download(
    name: Annotated[str, typer.Option(help="Archive of the data set, or model of the scale.")],
    scale: ScaleName,
    out: Out,
    dataset: Annotated[str | None, typer.Option(help="A file of config/datasets.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Where its first checksum is kept, if none is published.")
    ] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fetch one archive or model file, resume what was begun, verify its checksum."""
    from stclip import config as c
    from stclip.config.resolved import as_resolved
    from stclip.download import download as stage
    from stclip.download.first_download import check_recorded

    if dataset:
        data = c.load_dataset(config, dataset, scale=scale)
        logger.info("%s. Licence: %s Cite: %s", data.title, data.licence, data.citation)
        files = data.archives
    else:
        files = c.load_scale(config, scale).models
    wanted = c.pick(files, name, what="file to download")
    as_resolved(f"download {name} of {dataset or 'models'} at scale {scale}", wanted)
    stage.download(wanted, out)
    if record is not None:
        check_recorded(wanted, out, record)
