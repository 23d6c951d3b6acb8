"""Zero-shot label splits: splits resolve, splits make."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    ClipsFile,
    ConfigFolder,
    Count,
    Dataset,
    Name,
    Out,
    ScaleName,
    Seed,
    splits_app,
)
from stclip.errors import ConfigError


@splits_app.command("resolve")
def splits_resolve(
    split: Annotated[Path, typer.Option(help="A file of splits/{dataset}/{family}/.")],
    scale: ScaleName,
    clips: ClipsFile,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fill a label split with the clips that its classes and the official split select."""
    from stclip import config as c
    from stclip.records import Clips
    from stclip.splits.committed import read_committed
    from stclip.splits.label_splits import labels_of, resolve_split
    from stclip.splits.label_texts import check_labels

    label_split = read_committed(split)
    data = c.load_dataset(config, label_split.dataset, scale=scale)
    labels = [*label_split.base, *label_split.unseen]
    check_labels(labels, form=data.label_text, where=str(split))
    table = Clips.read(clips)
    known = {*labels, *labels_of(table)}
    lists = {"exclusive_labels": data.exclusive_labels or ()}  # misspelt: a sigmoid of its own
    lists |= {f"label_groups.{name}": group for name, group in data.label_groups.items()}
    for key, named in lists.items():
        for label in named:
            c.check_name(label, known, what=f"label of {label_split.dataset}, {key}:")
    resolve_split(
        label_split,
        table,
        test_split=data.test_split,
        together=data.scored_labels == "together",
    ).write(out)


@splits_app.command("make")
def splits_make(
    dataset: Dataset,
    name: Name,
    num_unseen: Count,
    seed: Seed,
    out: Out,
    clips: Annotated[
        Path | None, typer.Option(help="clips.parquet, whose classes are parted.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="In place of it: a label a line, or a label map.")
    ] = None,
    family: Annotated[str, typer.Option(help="Family of label splits.")] = "own",
) -> None:
    """Draw a new seeded label split from the classes of a data set."""
    from stclip.prepare.named_labels import read_label_list
    from stclip.records import Clips
    from stclip.splits.label_splits import labels_of, make_split

    if clips is not None and labels is None:
        names = labels_of(Clips.read(clips))
    elif labels is not None and clips is None:
        names = read_label_list(labels).names
    else:
        raise ConfigError("splits make: give either --clips or --labels.")
    made = make_split(
        names, name=name, dataset=dataset, family=family, num_unseen=num_unseen, seed=seed
    )
    made.write(out)
