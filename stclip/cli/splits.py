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
    clips: ClipsFile,
    dataset: Dataset,
    name: Name,
    num_unseen: Count,
    seed: Seed,
    out: Out,
    family: Annotated[str, typer.Option(help="Family of label splits.")] = "own",
) -> None:
    """Draw a new seeded label split from the classes of a data set."""
    from stclip.records import Clips
    from stclip.splits.label_splits import labels_of, make_split

    made = make_split(
        labels_of(Clips.read(clips)), name=name, dataset=dataset, family=family,
        num_unseen=num_unseen, seed=seed,
    )  # fmt: skip
    made.write(out)
