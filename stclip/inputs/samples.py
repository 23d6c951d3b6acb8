"""Groups boxes into the samples a method sees: key frames, clips or persons' tracks."""

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.clipping import clip_to_picture
from stclip.boxes.select import check_frames
from stclip.config import TwoScores
from stclip.inputs.batch import (
    NO_OBJECTS,
    Inputs,
    PersonSample,
    Sample,
    SampleObjects,
    TrackSample,
)
from stclip.inputs.person_tracks import PATIENCE_S, tracks
from stclip.records import BOX_COLUMNS, Clips, Detections


def make_samples(
    table: pd.DataFrame,
    clips: Clips,
    *,
    inputs: Inputs,
    objects: Detections | None = None,
    patience_s: float = PATIENCE_S,
    two_scores: TwoScores | None = None,
) -> list[Sample]:
    """Group boxes into samples, in table order: per key frame, per clip or per person's track.

    A table may hold several box sources, column `source`: a clip is the same for all of them, key
    frames and tracks are not. Tracks are those of the column `tube`, or linked here with
    `patience_s` and `two_scores`. `objects`: all that a detector found, where the method looks at
    them.
    """
    about = clips.table.set_index("clip")
    lengths, heights, widths = (about[c].to_dict() for c in ("num_frames", "height", "width"))
    rates = dict(zip(clips.table["clip"], clips.table["fps"], strict=True))
    by_second = inputs.memory_every == "second"
    sizes = {clip: (heights[clip], widths[clip]) for clip in lengths}
    unit = inputs.unit
    if unit == "tracklet":
        tube = tracks(
            table,
            fps=rates,
            patience_s=patience_s,
            two_scores=two_scores,
        )
        table = table.assign(tube=tube).sort_values("frame", kind="stable")
    boxes = table[BOX_COLUMNS].to_numpy(np.float32)
    frames = table["frame"].to_numpy()
    place, stored = table.index.to_numpy(), table["stored"].to_numpy()
    origins = table["origin"].to_numpy()
    keys = {"person": ["clip", "frame"], "clip": ["clip"], "tracklet": ["clip", "tube"]}[unit]
    if "source" in table and unit != "clip":
        keys = [*keys, "source"]
    things = _objects_by_frame(objects, clips) if objects is not None else {}
    # the rows of a sample side by side, so that its arrays are slices and no copies
    group = table.groupby(keys, sort=False).ngroup().to_numpy()
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    boxes, place, stored, frames = boxes[order], place[order], stored[order], frames[order]
    ends = [*begins[1:].tolist(), len(table)] if len(begins) else []
    firsts = order[begins]
    names = table["clip"].iloc[firsts].tolist()
    key_frames, sources = table["frame"].iloc[firsts].tolist(), origins[firsts].tolist()
    samples: list[Sample] = []
    for clip, frame, source, begin, end in zip(
        names, key_frames, sources, begins.tolist(), ends, strict=True
    ):
        shared: dict[str, Any] = {
            "clip": clip,
            "num_frames": lengths[clip],
            "boxes_xyxy": boxes[begin:end],
            "rows": place[begin:end],
            "size": sizes[clip],
            "source": source,
            "stored": stored[begin:end],
        }
        if unit == "person":
            of_frame = things.get((clip, frame), NO_OBJECTS) if inputs.objects else NO_OBJECTS
            step = max(round(rates[clip]), 1) if by_second else 1
            samples.append(
                PersonSample(**shared, key_frame=frame, objects=of_frame, memory_step=step)
            )
        elif unit == "tracklet":
            samples.append(TrackSample(**shared, box_frames=frames[begin:end]))
        else:
            samples.append(Sample(**shared))
    return samples


def _objects_by_frame(objects: Detections, clips: Clips) -> dict[tuple[str, int], SampleObjects]:
    """The objects of every frame by falling score (ties in file order), clipped to the picture."""
    check_frames(objects.table, clips)
    table = clip_to_picture(objects.table.assign(stored=objects.table.index), clips)
    table = table.sort_values("score", ascending=False, kind="stable")
    boxes, scores = table[BOX_COLUMNS].to_numpy(np.float32), table["score"].to_numpy(np.float32)
    stored = table["stored"].to_numpy(np.int64)
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(table["clip"], table["frame"].tolist(), strict=True)):
        found[key].append(row)
    return {
        key: SampleObjects(boxes[rows], scores[rows], stored[rows]) for key, rows in found.items()
    }
