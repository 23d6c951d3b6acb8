"""Groups boxes into the samples a method sees: key frames, clips or persons' tracks."""

from collections import defaultdict

import numpy as np
import pandas as pd

from stclip.boxes.clipping import clip_to_picture
from stclip.boxes.select import check_frames
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
) -> list[Sample]:
    """Group boxes into samples, in table order: per key frame, per clip or per person's track.

    A table may hold several box sources, column `source`: a clip is the same for all of them, key
    frames and tracks are not. Tracks are those of the column `tube`, or linked here with
    `patience_s`. `objects`: all that a detector found, where the method looks at them.
    """
    about = clips.table.set_index("clip")
    lengths, heights, widths = (about[c].to_dict() for c in ("num_frames", "height", "width"))
    unit = inputs.unit
    if unit == "tracklet":
        tube = tracks(
            table,
            fps=dict(zip(clips.table["clip"], clips.table["fps"], strict=True)),
            patience_s=patience_s,
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
    samples: list[Sample] = []
    for key, rows in table.groupby(keys, sort=False).indices.items():
        clip = str(key[0] if isinstance(key, tuple) else key)
        sample = Sample(
            clip=clip,
            num_frames=lengths[clip],
            boxes_xyxy=boxes[rows],
            rows=place[rows],
            size=(heights[clip], widths[clip]),
            source=origins[rows[0]],
            stored=stored[rows],
        )
        if unit == "person":
            frame = int(frames[rows[0]])
            of_frame = things.get((clip, frame), NO_OBJECTS) if inputs.objects else NO_OBJECTS
            samples.append(PersonSample(**vars(sample), key_frame=frame, objects=of_frame))
        elif unit == "tracklet":
            samples.append(TrackSample(**vars(sample), box_frames=frames[rows]))
        else:
            samples.append(sample)
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
