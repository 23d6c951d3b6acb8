"""The clips of one's own data: which are tested, what they show, and what label splits select.

Notes say what is good to know before anything is trained on them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.prepare.import_record import Settings, SplitClips
from stclip.prepare.named_labels import LabelList
from stclip.prepare.placing import clip_named
from stclip.prepare.survey import Surveyed
from stclip.records import LABEL_GROUPS, Boxes, Clips, LabelSplit
from stclip.splits.label_splits import labels_of, resolve_split, select_clips
from stclip.storage.outside_files import content_of, text_of


def official_sides(
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


def clips_table(
    boxes: Boxes,
    surveyed: Mapping[str, Surveyed],
    sides: Mapping[str, str],
    labels: LabelList,
    licence: str,
) -> Clips:
    """One row per clip, with all labels that its boxes show."""
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


def about_videos(surveyed: Mapping[str, Surveyed]) -> list[str]:
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


def about_tracks(boxes: Boxes, fps: Mapping[str, float], patience_s: float) -> list[str]:
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


def selected_clips(
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
