"""Annotations of one's own videos -> clips.parquet and boxes.parquet, with a report.

What `stclip data import` does: read the files, look through the videos, put the boxes on frames and
say what was dropped. Frames are not stored here; the prepare stage does it (`stclip.prepare.own`).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
    SplitClips,
    dropped,
)
from stclip.prepare.label_list import LabelList, read_label_list
from stclip.prepare.placing import Placing, clip_named
from stclip.prepare.survey import CACHE, Surveyed, find_videos, survey_videos, tell_problems
from stclip.records import BOX_COLUMNS, LABEL_GROUPS, Boxes, Clips, LabelSplit
from stclip.splits.label_splits import labels_of, resolve_split, select_clips
from stclip.storage.files import digest
from stclip.storage.outside_files import content_of, text_of

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
    sides = _official(boxes, kept, settings, test_split)
    clips = _clips(boxes, {clip: surveyed[clip] for clip in kept}, sides, label_list, licence)
    notes += _about_videos({clip: surveyed[clip] for clip in kept})
    notes += _about_tracks(boxes, {clip: surveyed[clip].fps for clip in kept}, patience_s)
    if num_whole:
        notes.append(
            f"{num_whole} boxes are whole pictures, of labels without box: detected persons hardly "
            "overlap them, so run boxes `gt` alone"
        )
    selected = [_selected(split, clips, test_split, together) for split in splits]
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


def _official(
    boxes: Boxes, clips: Sequence[str], settings: Settings, test_split: str
) -> dict[str, str]:
    """Which clips are tested: those of a list, or a share drawn among those of each label.

    Where nothing is labelled, all are.

    Raises:
        DataError: the list names an unknown video, or all or none of those that are annotated.
    """
    if settings.test_list is not None:
        path = Path(settings.test_list)
        lines = text_of(content_of(path), path).splitlines()
        listed = {clip_named(line.strip()): n for n, line in enumerate(lines, 1) if line.strip()}
        unknown = [clip for clip in listed if clip not in clips]
        if unknown:
            raise DataError(
                f"{path}: line {listed[unknown[0]]}: {unknown[0]!r} is no annotated video; "
                f"{len(unknown)} like this."
            )
        tested = {*listed}
    elif not boxes.table["actions"].map(len).any():  # nothing to train on
        tested = {*clips}
    else:
        tested = _drawn(boxes, clips, settings.test_share, settings.seed)
    return {clip: test_split if clip in tested else "train" for clip in clips}


def _drawn(boxes: Boxes, clips: Sequence[str], share: float, seed: int) -> set[str]:
    """Of the clips of each label a share; a label of several clips stays on both sides."""
    shown = boxes.table.explode("actions")[["clip", "actions"]].fillna("")
    often = shown.groupby("clip")["actions"].agg(lambda own: own.value_counts(sort=True).index[0])
    rng, tested = np.random.default_rng(seed), set()
    for label in sorted(often.unique()):
        own = [clip for clip in clips if often[clip] == label]
        number = min(max(1, round(share * len(own))), max(1, len(own) - 1))
        tested |= {own[place] for place in rng.permutation(len(own))[:number].tolist()}
    return tested


def _clips(
    boxes: Boxes,
    surveyed: Mapping[str, Surveyed],
    sides: Mapping[str, str],
    labels: LabelList,
    licence: str,
) -> Clips:
    shown = boxes.table.explode("actions").groupby("clip")["actions"].agg(set)
    return Clips(
        pd.DataFrame(
            {
                "clip": list(surveyed),
                "official_split": [sides[clip] for clip in surveyed],
                "num_frames": [its.num_frames for its in surveyed.values()],
                "height": [its.height for its in surveyed.values()],
                "width": [its.width for its in surveyed.values()],
                "fps": [its.fps for its in surveyed.values()],
                "licence": licence,
                "actions": [[n for n in labels.names if n in shown[clip]] for clip in surveyed],
            }
        )
    )


def _about_videos(surveyed: Mapping[str, Surveyed]) -> list[str]:
    """What of the videos is good to know."""
    sizes = Counter(f"{its.width}x{its.height}" for its in surveyed.values())
    odd = {
        "are turned, as their files say": [c for c, its in surveyed.items() if its.is_turned],
        "have a varying frame rate": [c for c, its in surveyed.items() if its.times_s],
        "have frames that the decoder mended": [c for c, i in surveyed.items() if i.num_damaged],
    }
    notes = [f"{len(own)} videos {what}: {', '.join(own[:5])}" for what, own in odd.items() if own]
    if len(sizes) > 1:
        notes.append("sizes of videos: " + ", ".join(f"{n} of {s}" for s, n in sizes.most_common()))
    return notes


def _about_tracks(boxes: Boxes, fps: Mapping[str, float], patience_s: float) -> list[str]:
    """Whether the annotated frames of a clip lie so far apart that every track would end."""
    frames = boxes.table[["clip", "frame"]].drop_duplicates().sort_values(["clip", "frame"])
    steps_s = frames.groupby("clip")["frame"].diff() / frames["clip"].map(fps)
    step_s = float(steps_s.median())
    if not step_s > patience_s:  # or there is but one frame a clip
        return []
    return [
        f"annotated frames are {step_s:.3g} s apart, and tracks end after {patience_s:.3g} s "
        f"without a box: set `linking: {{ patience_s: {2 * step_s:.3g} }}` in the data set's YAML "
        "for methods that look at tracks"
    ]


def _selected(
    split: LabelSplit, clips: Clips, test_split: str, together: bool
) -> tuple[SplitClips, str]:
    """What a label split selects, and what to do where that is nothing."""
    if not labels_of(clips):
        resolved = resolve_split(split, clips, test_split=test_split)
        groups = {"train": resolved.train_clips}
        groups |= {group: resolved.test_clips(group) for group in LABEL_GROUPS}
    else:
        chosen = select_clips(split, clips, test_split=test_split, together=together)
        groups = {group: tuple(names) for group, names in chosen.items()}
    counts = {group: len(names) for group, names in groups.items()}
    note = ""
    if labels_of(clips) and not all(counts.values()):
        gone = " and ".join(group for group, count in counts.items() if not count)
        note = (
            f"label split {split.name} selects no clips for {gone}; it cannot be used. Draw "
            "another (`stclip splits make`), or choose the tested videos (--test-list, "
            "--test-share, --seed)"
        )
    return SplitClips(split=split.name, **counts), note
