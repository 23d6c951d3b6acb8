"""Annotations of one's own videos -> clips.parquet and boxes.parquet, with a report.

What `stclip data import` does: read the files, look through the videos, put the boxes on frames and
say what was dropped. Frames are not stored here; the prepare stage does it (`stclip.prepare.own`).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stclip.errors import DataError
from stclip.prepare.annotations.formats import listed_files, read_file
from stclip.prepare.annotations.found import ReadAs
from stclip.prepare.import_record import (
    Dropped,
    ImportRecord,
    LabelCount,
    Settings,
    Source,
    dropped,
)
from stclip.prepare.named_labels import LabelList, read_label_list
from stclip.prepare.own_clips import (
    about_tracks,
    about_videos,
    clips_table,
    official_sides,
    selected_clips,
)
from stclip.prepare.placing import Placing, clip_named
from stclip.prepare.survey import CACHE, find_videos, survey_videos, tell_problems
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.storage.files import digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    """The tables, where each clip's video lies, and the report."""

    clips: Clips
    boxes: Boxes
    videos: Mapping[str, Path]
    record: ImportRecord

    def write(self, folder: Path) -> None:
        """Write the tables, the clips last."""
        (folder / "clips.parquet").unlink(missing_ok=True)
        self.boxes.write(folder / "boxes.parquet")
        self.clips.write(folder / "clips.parquet")


def import_annotations(
    dataset: str,
    settings: Settings,
    *,
    videos: Path,
    labels: Path,
    licence: str,
    splits: Sequence[LabelSplit],
    test_split: str,
    together: bool,
    patience_s: float,
    cache: Path,
) -> Imported:
    """Read annotations of the videos in a folder.

    Args:
        dataset: its name, for the report.
        settings: the files, and how they are read.
        videos: folder of the videos.
        labels: file of the labels.
        licence: written into every row of the clips.
        splits: label splits, to see what they select.
        test_split: the official split that is tested.
        together: whether all labels are scored on every tested clip.
        patience_s: seconds that a track may pause, to see whether persons' tracks hold.
        cache: folder of what was found of the videos (`survey_videos`).

    Raises:
        ConfigError: a setting is wrong. DataError: a file is missing, damaged or read wrongly; a
            video cannot be used; or nothing is left.
    """
    label_list = read_label_list(labels)
    read_as = ReadAs(**settings.read_as)
    files = listed_files([Path(path) for path in settings.annotations])
    read = [(path, *read_file(path, settings.format, read_as)) for path in files]
    paths = find_videos(videos)
    unknown = sorted({*settings.without} - paths.keys())
    if unknown:
        raise DataError(f"--without: {videos} has no videos {unknown}; correct the names.")
    wanted = {clip_named(name) for _, _, found in read for name in found.rows["video"]}
    there = {clip: path for clip, path in paths.items() if clip not in settings.without}
    used = {clip: path for clip, path in there.items() if clip in wanted}
    surveyed = survey_videos(used or there, cache / CACHE)  # none: the error names them all
    tell_problems(surveyed, paths, settings.without)
    tables, reasons, sources = [], [], []
    missing: Counter[str] = Counter()
    num_whole = 0
    for path, its, found in read:
        placing = Placing(
            found,
            path,
            surveyed,
            label_list,
            ignored=settings.ignored_labels,
            without=settings.without,
            as_they_are=settings.as_they_are,
        )
        tables.append(placing.boxes())
        reasons += placing.reasons
        missing += placing.missing
        num_whole += placing.num_whole
        sources.append(
            Source(path=str(path), format=its.name, sha256=digest(path), rows=len(found.rows))
        )
    boxes, more, notes = _joined(pd.concat(tables, ignore_index=True), label_list)
    kept = [clip for clip in surveyed if (boxes.table["clip"] == clip).any()]
    sides = official_sides(boxes, kept, settings, test_split)
    clips = clips_table(boxes, {clip: surveyed[clip] for clip in kept}, sides, label_list, licence)
    notes += about_videos({clip: surveyed[clip] for clip in kept})
    notes += about_tracks(boxes, {clip: surveyed[clip].fps for clip in kept}, patience_s)
    if num_whole:
        notes.append(
            f"{num_whole} boxes are whole pictures, of labels without box: detected persons hardly "
            "overlap them, so run boxes `gt` alone"
        )
    selected = [selected_clips(split, clips, test_split, together) for split in splits]
    notes += [note for _, note in selected if note]
    shown = boxes.table.explode("actions")
    per_label = shown.groupby("actions")["clip"].agg(["nunique", "size"])
    counts = {name: per_label.loc[name].tolist() for name in per_label.index}
    unshown = [name for name in label_list.names if name not in counts]
    if unshown and len(unshown) < len(label_list.names):
        notes.append(f"no box shows {', '.join(unshown)}")
    record = ImportRecord(
        dataset=dataset,
        settings=settings,
        sources=sources,
        labels_file=str(labels),
        videos_folder=str(videos),
        videos=len(paths),
        annotated=len(kept),
        unannotated=sorted(paths.keys() - {*kept}),
        missing=dict(sorted(missing.items())),
        official_splits={side: [*sides.values()].count(side) for side in sorted({*sides.values()})},
        frames=int(clips.table["num_frames"].sum()),
        annotated_frames=len(boxes.table[["clip", "frame"]].drop_duplicates()),
        boxes=len(boxes),
        unlabelled_boxes=int((boxes.table["actions"].map(len) == 0).sum()),
        whole_pictures=num_whole,
        rows=reasons + more,
        labels=[
            LabelCount(label=name, videos=counts.get(name, [0, 0])[0],
                       boxes=counts.get(name, [0, 0])[1])
            for name in label_list.names
        ],
        splits=[its for its, _ in selected],
        notes=notes,
    )  # fmt: skip
    logger.info(
        "%s: %d rows read, %d boxes in %d clips kept; %d rows dropped",
        dataset, sum(s.rows for s in sources), len(boxes), len(clips),
        sum(row.count for row in record.rows if not row.kept),
    )  # fmt: skip
    return Imported(clips, boxes, {clip: paths[clip] for clip in kept}, record)


def _joined(rows: pd.DataFrame, labels: LabelList) -> tuple[Boxes, list[Dropped], list[str]]:
    """Boxes with all their labels, and their persons as numbers.

    Raises:
        DataError: no row is left.
    """
    if rows.empty:
        raise DataError("no box is left; the reasons: see the log, and correct the annotations.")
    order = {name: number for number, name in enumerate(labels.names)}
    rows = rows.assign(order=rows["label"].map(order).fillna(-1))
    keys = ["clip", "frame", "person", *BOX_COLUMNS]
    grouped = rows.sort_values([*keys, "order"], kind="stable").groupby(keys, sort=True)
    table = grouped.agg(
        actions=("label", lambda own: [*dict.fromkeys(name for name in own if name)]),
        place=("place", "first"),
    ).reset_index()
    notes, more = [], []
    named = table["person"] != ""
    twice = named & table.duplicated(["clip", "frame", "person"], keep="first")
    if twice.any():
        why = "persons with a second box in the same frame"
        more.append(dropped(why, table.loc[twice, "place"], kept=True))
    if named.any():
        # persons first by their names, then those without, each of a frame a number of its own
        numbers = table["person"].where(named).groupby(table["clip"]).rank("dense")
        base = numbers.groupby(table["clip"]).transform("max").fillna(0)
        beside = table[~named].groupby(["clip", "frame"]).cumcount() + 1
        table["tube"] = numbers.fillna(base + beside).astype(int) - 1
    else:
        table["tube"] = table.groupby(["clip", "frame"]).cumcount()
        if (table["tube"] > 0).any():
            notes.append(
                "the annotations do not say who is who: tracks of annotated persons follow their "
                "order in each frame, which methods that look at tracks of `gt` boxes take amiss"
            )
    unlabelled = table["actions"].map(len) == 0
    if unlabelled.all():
        notes.append(
            "no box has a label: boxes can be scored, but nothing can be trained or evaluated"
        )
    elif unlabelled.any():
        why = "boxes without label: scored, but never right"
        more.append(dropped(why, table.loc[unlabelled, "place"], kept=True))
    return Boxes(table[["clip", "frame", *BOX_COLUMNS, "tube", "actions"]]), more, notes
