"""Runs on dashboards: sync, dashboard."""

import os
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, Dataset, ScaleName, app

Entity = Annotated[
    str | None,
    typer.Option(envvar="WANDB_ENTITY", help="W&B user or team; the API key's own without."),
]


@app.command()
def sync(entity: Entity = None) -> None:
    """Upload the finished runs that W&B kept offline, each once."""
    from stclip.tracking.sync import sync as upload

    upload(Path(os.environ.get("WANDB_DIR") or ".") / "wandb", entity=entity)


@app.command()
def dashboard(
    scale: ScaleName,
    dataset: Dataset = "jhmdb",
    entity: Entity = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; results/{scale}/dashboard.json.")
    ] = None,
    splits: Annotated[Path, typer.Option(help="Folder of the label splits.")] = Path("splits"),
    config: ConfigFolder = CONFIG,
) -> None:
    """Write the W&B workspace of a scale's runs; with WANDB_MODE=online also save it there."""
    from functools import partial

    from stclip import config as c
    from stclip.records import LabelSplit
    from stclip.storage.files import write_json
    from stclip.tracking.dashboard import build_dashboard, save_dashboard, specification
    from stclip.tracking.wandb_runs import tracking_mode

    online = tracking_mode() == "online"
    data = c.load_dataset(config, dataset, scale=scale)
    label_splits = [
        LabelSplit.read(splits / dataset / data.family / f"{name}.json") for name in data.splits
    ]
    build = partial(
        build_dashboard,
        scale=scale,
        dataset=dataset,
        title=f"{data.title} ({scale})",
        splits=data.splits,
        unseen=sorted({label for split in label_splits for label in split.unseen}),
    )
    path = out or Path("results", scale, "dashboard.json")
    write_json(path, specification(build(entity or "")))
    typer.echo(f"dashboard: {path}")
    if online:
        typer.echo(f"dashboard: {save_dashboard(build, entity=entity)}")
