"""From archives to tables and frames: prepare, key-frames, data verify."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    Out,
    ScaleName,
    app,
    data_app,
)
from stclip.cli.own_data import run_import

RawFolder = Annotated[
    Path, typer.Option("--raw", help="Folder of the archives, or of an unpacked copy.")
]


@app.command()
def prepare(
    dataset: Dataset, scale: ScaleName, raw: RawFolder, out: Out, config: ConfigFolder = CONFIG
) -> None:
    """Read the archives, or an unpacked copy of them: clips.parquet, boxes.parquet and frames."""
    from stclip import config as c
    from stclip.config.target import call_target

    settings = c.load_dataset(config, dataset, scale=scale)
    where = f"data set {dataset} at scale {scale}"
    call_target(
        settings.target, raw, out,
        params=settings.params, where=where, frame_store=settings.frame_store,
    )  # fmt: skip


@app.command("key-frames")
def key_frames(
    dataset: Dataset,
    scale: ScaleName,
    clips: ClipsFile,
    boxes: BoxesFile,
    raw: RawFolder,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """List the key frames: those that are tested, and the annotated ones of training clips."""
    from stclip import config as c
    from stclip.records import Boxes, Clips
    from stclip.splits.key_frames import make_key_frames, read_all_excluded

    settings = c.load_dataset(config, dataset, scale=scale)
    rule = settings.key_frames
    excluded = rule.excluded if isinstance(rule, c.Seconds) else []
    make_key_frames(
        rule,
        clips=Clips.read(clips),
        boxes=Boxes.read(boxes),
        test_split=settings.test_split,
        excluded=read_all_excluded(raw, excluded) if excluded else None,
    ).write(out)


@data_app.command()
def verify(
    dataset: Annotated[str, typer.Argument(help="A file of config/datasets.")],
    scale: ScaleName = "paper",
    clips: Annotated[Path | None, typer.Option(help="[default: the scale's]")] = None,
    boxes: Annotated[Path | None, typer.Option(help="[default: the scale's]")] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(
            help="Check this file (gttubes or pyannot, pkl or JSON), or this folder of AVA's files "
            "of annotations, instead of prepared tables."
        ),
    ] = None,
    splits: Annotated[Path, typer.Option(help="Folder of {dataset}/{family}/{split}.json.")] = Path(
        "splits"
    ),
    config: ConfigFolder = CONFIG,
) -> None:
    """Compare a data set with the published counts, or own data with what they were imported from.

    Exit status 1 if anything differs.
    """
    import pandas as pd

    from stclip import config as c
    from stclip.prepare.counts import COUNTS_FILE, count, differences, published_counts
    from stclip.prepare.ground_truth import ground_truth_of, load_ground_truth
    from stclip.prepare.import_record import ImportRecord
    from stclip.records import Boxes, Clips, LabelSplit
    from stclip.storage.files import read_json

    settings = c.load_dataset(config, dataset, scale=scale)
    if settings.extracted and ImportRecord.is_in(Path(settings.extracted).parent):
        how = ImportRecord.read(Path(settings.extracted).parent).settings
        _, changed = run_import(
            dataset, how, scale=scale, splits=splits, config=config, only_compare=True
        )
        if changed:
            print(
                f"{' and '.join(changed)} in {settings.extracted} would be others now: videos, "
                "annotations or labels have changed. Nothing was written; import them again."
            )
            raise typer.Exit(1)
        print("All tables are as they were imported.")
        return
    path = config / "published" / f"{dataset}_counts.yaml"
    published = published_counts(c.read_yaml(path), str(path))
    files = [splits / dataset / settings.family / f"{name}.json" for name in settings.splits]
    own: dict[str, int] = {}
    if ground_truth and ground_truth.is_dir():
        where = f"data set {dataset} at scale {scale}"
        tables, own = ground_truth_of(ground_truth, settings.target, settings.params, where=where)
    elif ground_truth:
        tables = load_ground_truth(ground_truth)
    else:
        folder = clips.parent if clips else Path("data", scale, dataset)
        if (folder / COUNTS_FILE).exists():
            own = read_json(folder / COUNTS_FILE)
        tables = (
            Clips.read(clips or folder / "clips.parquet"),
            Boxes.read(boxes or folder / "boxes.parquet"),
        )
    found = count(
        *tables,
        [LabelSplit.read(file) for file in files],
        test_split=settings.test_split,
        units=published.units,
    )
    different = differences(published.counts, published.comparable(found, own=own))
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
