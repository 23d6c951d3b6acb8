"""From archive to label split: download, prepare, splits."""

import logging
from pathlib import Path
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
    data_app,
    splits_app,
)

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
    from stclip.download import download as stage
    from stclip.download.first_download import check_recorded

    if dataset:
        data = c.load_dataset(config, dataset, scale=scale)
        logger.info("%s. Licence: %s Cite: %s", data.title, data.licence, data.citation)
        sources = data.archives
    else:
        sources = c.load_scale(config, scale).models
    source = c.pick(sources, name, what="source")
    stage.download(source, out)
    if record is not None:
        check_recorded(source, out, record)


@app.command()
def prepare(
    dataset: Dataset, scale: ScaleName, raw: In, out: Out, config: ConfigFolder = CONFIG
) -> None:
    """Read the archives, or an unpacked copy of them: clips.parquet, boxes.parquet and frames."""
    from stclip import config as c
    from stclip.config.target import resolve_target

    settings = c.load_dataset(config, dataset, scale=scale)
    resolve_target(settings.target)(raw, out, **settings.params)


@splits_app.command("resolve")
def splits_resolve(split: In, clips: In, out: Out) -> None:
    """Fill a label split with the clips that its classes and the official split select."""
    from stclip.records import Clips, LabelSplit
    from stclip.splits.label_splits import resolve_split

    resolve_split(LabelSplit.read(split), Clips.read(clips)).write(out)


@splits_app.command("make")
def splits_make(
    clips: In, dataset: Dataset, name: Name, num_unseen: Count, seed: Seed, out: Out
) -> None:
    """Draw a new seeded label split from the classes of a data set."""
    from stclip.records import Clips
    from stclip.splits.label_splits import labels_of, make_split

    made = make_split(
        labels_of(Clips.read(clips)), name=name, dataset=dataset, num_unseen=num_unseen, seed=seed
    )
    made.write(out)


@data_app.command()
def verify(
    dataset: Annotated[str, typer.Argument(help="A file of config/datasets.")],
    scale: ScaleName = "paper",
    clips: Annotated[Path | None, typer.Option(help="[default: the scale's]")] = None,
    boxes: Annotated[Path | None, typer.Option(help="[default: the scale's]")] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(help="Check this JHMDB-GT file (pkl or JSON) instead of prepared tables."),
    ] = None,
    splits: Annotated[Path, typer.Option(help="Folder of {dataset}/{split}.json.")] = Path(
        "splits"
    ),
    config: ConfigFolder = CONFIG,
) -> None:
    """Compare a prepared data set with the published counts; exit status 1 if any differs."""
    import pandas as pd

    from stclip import config as c
    from stclip.prepare.counts import count, differences, published_counts
    from stclip.prepare.gttubes import load_tubes, read_tubes
    from stclip.records import Boxes, Clips, LabelSplit

    path = config / "published" / f"{dataset}_counts.yaml"
    published = published_counts(c.read_yaml(path), str(path))
    settings = c.load_dataset(config, dataset, scale=scale)
    files = [splits / dataset / f"{name}.json" for name in settings.splits]
    if ground_truth:
        data = load_tubes(ground_truth)
        tables = read_tubes(data, licence="", fps=0, where=ground_truth)
    else:
        folder = Path("data", scale, dataset)
        tables = (
            Clips.read(clips or folder / "clips.parquet"),
            Boxes.read(boxes or folder / "boxes.parquet"),
        )
    found = count(*tables, [LabelSplit.read(file) for file in files])
    different = differences(published.counts, found)
    if different:
        rows = [
            (d.what, *("-" if n is None else f"{n:,}" for n in (d.published, d.found)))
            for d in different
        ]
        table = pd.DataFrame(rows, columns=["what", "published", "found"])
        print(table.to_markdown(index=False, stralign="right", colalign=("left",)))
        print(f"{len(different)} counts differ; {len(published.counts)} are published.")
    else:
        print(f"All {len(published.counts)} counts agree.")
    if published.note:
        print(published.note)
    if different:
        raise typer.Exit(1)
