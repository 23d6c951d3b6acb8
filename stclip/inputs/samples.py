"""Groups boxes into the samples a method sees: key frames, clips or persons' tracks."""

from collections import defaultdict

import numpy as np
import pandas as pd

from stclip.boxes.clipping import clip_to_picture
from stclip.boxes.select import check_frames
from stclip.inputs.batch import Inputs, Sample, SampleObjects
from stclip.inputs.person_tracks import tracks
from stclip.records import BOX_COLUMNS, Clips, Detections


def make_samples(
    table: pd.DataFrame, clips: Clips, *, inputs: Inputs, objects: Detections | None = None
) -> list[Sample]:
    """Group boxes into samples, in table order: per key frame, per clip or per person's track.

    A table may hold several box sources, column `source`: a clip is the same for all of them, key
    frames and tracks are not. Tracks are those of the column `tube`, or linked here. `objects`: all
    that a detector found, where the method looks at them.
    """
    about = clips.table.set_index("clip")
    lengths, heights, widths = (about[c].to_dict() for c in ("num_frames", "height", "width"))
    unit = inputs.unit
    if unit == "tracklet":
        table = table.assign(tube=tracks(table)).sort_values("frame", kind="stable")
    boxes = table[BOX_COLUMNS].to_numpy(np.float32)
    frames = table["frame"].to_numpy()
    place, stored = table.index.to_numpy(), table["stored"].to_numpy()
    origins = table["origin"].to_numpy()
    keys = {"person": ["clip", "frame"], "clip": ["clip"], "tracklet": ["clip", "tube"]}[unit]
    if "source" in table and unit != "clip":
        keys = [*keys, "source"]
    things = _objects_by_frame(objects, clips) if objects is not None else {}
    samples = []
    for key, rows in table.groupby(keys, sort=False).indices.items():
        clip = str(key[0] if isinstance(key, tuple) else key)
        num_frames = lengths[clip]
        key_frame = int(frames[rows[0]]) if unit == "person" else num_frames // 2
        samples.append(
            Sample(
                clip=clip,
                num_frames=num_frames,
                key_frame=key_frame,
                boxes_xyxy=boxes[rows],
                rows=place[rows],
                box_frames=frames[rows] if unit == "tracklet" else None,
                size=(heights[clip], widths[clip]),
                source=origins[rows[0]],
                stored=stored[rows],
                objects=things.get((clip, key_frame), NO_OBJECTS) if inputs.objects else None,
            )
        )
    return samples


NO_OBJECTS = SampleObjects(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
)


def _objects_by_frame(objects: Detections, clips: Clips) -> dict[tuple[str, int], SampleObjects]:
    """The objects of every frame by falling score (ties in file order), clipped to the picture."""
    check_frames(objects, clips)
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
