"""One's own data: data init, data import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, ScaleName, data_app
from stclip.errors import ConfigError

if TYPE_CHECKING:
    from stclip.prepare.import_record import ImportRecord, Settings

DatasetName = Annotated[str, typer.Argument(help="Name of the data set.")]
SplitsFolder = Annotated[Path, typer.Option(help="Folder of {dataset}/{family}/{split}.json.")]
FAMILY = "own"
SPLITS = Path("splits")


@data_app.command("init")
def init(
    name: DatasetName,
    videos: Annotated[Path, typer.Option(help="Folder of the videos, and those below it.")],
    labels: Annotated[Path, typer.Option(help="A label a line, or a label map (.pbtxt, csv).")],
    scale: ScaleName = "paper",
    title: Annotated[str | None, typer.Option(help="In tables. [default: the name]")] = None,
    licence: Annotated[str, typer.Option(help="Of the videos.")] = "own videos, not published",
    citation: Annotated[str, typer.Option(help="Of whom to cite.")] = "none",
    several_actions: Annotated[
        bool, typer.Option(help="A person may do several things at once, as in AVA.")
    ] = False,
    boxes: Annotated[
        str, typer.Option(help="Boxes of the table: detected (and gt beside them), or gt alone.")
    ] = "detected",
    detector: Annotated[
        str | None,
        typer.Option(help="A detector of the scale. [default: its first that needs no training]"),
    ] = None,
    num_unseen: Annotated[
        int | None,
        typer.Option(help="Unseen labels of a split. [default: a quarter, 2 or more]", min=1),
    ] = None,
    num_splits: Annotated[int, typer.Option(help="Label splits to draw.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the first split; the next have the next.")] = 0,
    splits: SplitsFolder = SPLITS,
    config: ConfigFolder = CONFIG,
) -> None:
    """Lay out a data set of your own: its YAML, label list and splits, and a table."""
    from stclip import config as c
    from stclip.config.table import load_table
    from stclip.prepare.named_labels import read_label_list
    from stclip.prepare.new_dataset import NewDataset, dataset_yaml, table_yaml, write_new
    from stclip.prepare.own import TARGET
    from stclip.prepare.survey import find_videos
    from stclip.splits.label_splits import make_split
    from stclip.splits.label_texts import check_labels
    from stclip.storage.outside_files import content_of, text_of

    c.check_form(name, what="data set")
    c.check_name(boxes, ("detected", "gt"), what="boxes of --boxes:")
    settings = c.load_scale(config, scale)
    ready = [n for n, d in settings.detectors.items() if not (d.finds_objects or d.finetune)]
    ready = [n for n in ready if not (settings.detectors[n].by_hand or settings.detectors[n].files)]
    if detector is None and not ready:
        raise ConfigError(f"scale {scale} has no detector that is ready; name one: --detector.")
    chosen = detector or ready[0]
    c.check_name(chosen, settings.detectors, what=f"detector of scale {scale}:")
    label_list = read_label_list(labels)
    check_labels(label_list.names, form="spaced", where=str(labels))
    found = find_videos(videos)
    # among one unseen label a softmax is always 1
    unseen = num_unseen or min(max(2, len(label_list.names) // 4), len(label_list.names) - 1)
    new = NewDataset(
        name=name, title=title or name, licence=licence, citation=citation, videos=str(videos),
        detector=chosen, several_actions=several_actions, table_boxes=boxes,
        splits=[str(number) for number in range(1, num_splits + 1)],
    )  # fmt: skip
    paths = new.paths(config)
    made = {
        splits / name / FAMILY / f"{split}.json": make_split(
            label_list.names, name=split, dataset=name, family=FAMILY, num_unseen=unseen,
            seed=seed + number,
        )
        for number, split in enumerate(new.splits)
    }  # fmt: skip
    there = [str(path) for path in made if path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)}: there already; delete them, or choose other names.")
    write_new(
        {
            paths["dataset"]: dataset_yaml(new, paths["labels"], target=TARGET),
            paths["labels"]: text_of(content_of(labels), labels),
            paths["table"]: table_yaml(new),
        }
    )
    for path, split in made.items():
        split.write(path)
    c.load_dataset(config, name, scale=scale)  # what was written is as it should be
    load_table(config, name, scale=scale)
    print(f"{name}: {len(found)} videos, {len(label_list.names)} labels; written are")
    for path in [*paths.values(), *made]:
        print(f"  {path}")
    for path, split in made.items():
        print(f"{path.name}: {len(split.base)} base labels, unseen: {', '.join(split.unseen)}")
    if unseen == 1 and not several_actions:
        print("Of one unseen label the softmax is always 1: its values say nothing; take two.")
    print(f"Persons are found by {chosen}, the detector of scale {scale} (`detector`).")
    print(f"Next: stclip data import {name} --annotations FILE")


@data_app.command("import")
def import_(
    name: DatasetName,
    annotations: Annotated[
        list[Path], typer.Option(help="File of annotations, or a folder of them; may be repeated.")
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="rows, ava, coco, cvat or via. [default: told by content]"),
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Of a csv: pixels or fractions.")] = None,
    box_format: Annotated[str | None, typer.Option(help="Of a csv or COCO: xyxy or xywh.")] = None,
    first_frame: Annotated[
        int | None, typer.Option(help="Number of a video's first frame. [default: 0]", min=0)
    ] = None,
    label_attribute: Annotated[
        str | None, typer.Option(help="Of COCO, CVAT, VIA: the attribute that is the label.")
    ] = None,
    picture_names: Annotated[
        str | None, typer.Option(help="Expression with (?P<video>...) and (?P<frame>...).")
    ] = None,
    video: Annotated[str | None, typer.Option(help="That every row is of.")] = None,
    ignore_label: Annotated[
        list[str] | None, typer.Option(help="Leave its rows out; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A video to go on without; may be repeated.")
    ] = None,
    test_list: Annotated[Path | None, typer.Option(help="The tested videos, one a line.")] = None,
    test_share: Annotated[
        float, typer.Option(help="Else this share of each label's videos, drawn.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Of that draw.", min=0)] = 0,
    as_they_are: Annotated[
        bool, typer.Option("--as-they-are", help="Boxes that look like another unit are right.")
    ] = False,
    scale: ScaleName = "paper",
    splits: SplitsFolder = SPLITS,
    config: ConfigFolder = CONFIG,
) -> None:
    """Read annotations of your own videos; report what was dropped, and draw the rest."""
    from stclip import config as c
    from stclip.prepare.import_record import Settings

    for option, value, known in (
        ("--unit", unit, ("pixels", "fractions")), ("--box-format", box_format, ("xyxy", "xywh")),
    ):  # fmt: skip
        if value is not None:
            c.check_name(value, known, what=f"{option}:")
    if not 0 < test_share < 1:
        raise ConfigError(f"--test-share is {test_share}; a number between 0 and 1 is needed.")
    read_as = {
        "unit": unit, "box_format": box_format, "first_frame": first_frame,
        "label_attribute": label_attribute, "picture_names": picture_names, "video": video,
    }  # fmt: skip
    record, _ = run_import(
        name,
        Settings(
            annotations=[str(path) for path in annotations],
            format=form,
            read_as={key: value for key, value in read_as.items() if value is not None},
            ignored_labels=ignore_label or [],
            without=without or [],
            test_list=str(test_list) if test_list else None,
            test_share=test_share,
            seed=seed,
            as_they_are=as_they_are,
        ),
        scale=scale, splits=splits, config=config,
    )  # fmt: skip
    _print_next(config, record, scale=scale)


def _print_next(config: Path, record: "ImportRecord", *, scale: str) -> None:
    """Which command goes on from here."""
    from stclip import config as c

    name = record.dataset
    about = c.load_dataset(config, name, scale=scale)
    table = config / "tables" / f"{name}.yaml"
    wanted, boxes = f"results/{name}.csv", ""
    if table.exists() and c.read_yaml(table).get("boxes") == "gt":
        boxes = " 'boxes=[gt]'"
    if record.unlabelled_boxes == record.boxes:
        run = f"runs/{scale}/{name}/{about.family}/{about.splits[0]}/METHOD/0"
        wanted, boxes = f"{run}/scores_gt_unseen.parquet", " 'boxes=[gt]'"
    print(f"Then: snakemake --cores 8 {wanted} --config scale={scale} 'datasets=[{name}]'{boxes}")


def run_import(
    name: str,
    settings: "Settings",
    *,
    scale: str,
    splits: Path,
    config: Path,
    only_compare: bool = False,
) -> tuple["ImportRecord", list[str]]:
    """Import, write tables, report and sheet; the report, and tables that are not as they were.

    `only_compare`: where a table would change, nothing is written.
    """
    from stclip import config as c
    from stclip.config.target import check_arguments
    from stclip.prepare.import_record import SHEET, TEXT
    from stclip.prepare.own import TARGET
    from stclip.prepare.own_import import import_annotations
    from stclip.records import Boxes, Clips
    from stclip.report.annotation_sheet import write_sheet
    from stclip.splits.committed import read_committed

    about = c.load_dataset(config, name, scale=scale)
    if about.target != TARGET or not about.extracted:
        raise ConfigError(
            f"data set {name}: its target is {about.target}, not {TARGET}; `stclip data init` lays "
            "out data sets into which annotations can be imported."
        )
    params = check_arguments(
        about.target,
        about.params,
        where=f"params of data set {name}",
        given=2,
        also=["frame_store"],
    )
    folder = Path(about.extracted)
    reports = folder.parent
    files = [splits / name / about.family / f"{split}.json" for split in about.splits]
    imported = import_annotations(
        name,
        settings,
        videos=Path(params["videos"]),
        labels=Path(params["labels"]),
        licence=params["licence"],
        splits=[read_committed(file) for file in files],
        test_split=about.test_split,
        together=about.scored_labels == "together",
        patience_s=about.linking.patience_s,
        cache=reports,
    )
    tables = {"clips.parquet": (Clips, imported.clips), "boxes.parquet": (Boxes, imported.boxes)}
    changed = [
        file
        for file, (kind, new) in tables.items()
        if not (folder / file).exists() or kind.read(folder / file).content() != new.content()
    ]
    print(imported.record.text())
    if changed and only_compare:
        return imported.record, changed
    if changed:
        imported.write(folder)
    imported.record.write(reports)
    write_sheet(
        reports / SHEET, imported.boxes, imported.videos,
        title=f"{name}: {len(imported.boxes)} boxes in {len(imported.clips)} videos",
    )  # fmt: skip
    print(f"{reports / TEXT} holds this report; look at {reports / SHEET} before you go on.")
    return imported.record, changed
