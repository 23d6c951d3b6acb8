"""Which boxes are scored: source, filter, those inside the picture."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stclip.boxes.clipping import clip_to_picture
from stclip.config import BoxSource
from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Clips, Data

logger = logging.getLogger(__name__)


def select_boxes(
    source: BoxSource, data: Data, *, names: Sequence[str], level: int = logging.INFO
) -> pd.DataFrame:
    """The boxes to score on the key frames of the clips `names`, filtered on reading.

    The filters see a frame's boxes by falling score (ties in file order). `within` keeps boxes
    scoring above the frame's best minus it (Huang et al. 2025: higher than S - T); the best always
    stays. `top` keeps the first so many. Then boxes are clipped to 0..width-1, 0..height-1 and
    empty ones dropped. What was kept is logged at `level`.

    Returns:
        Columns clip, frame, x1, y1, x2, y2, detector_score, origin (`source.source`), stored (the
        row in that table), and tube and actions for ground truth; rows by clip (in the order of
        `names`), frame, falling score.

    Raises:
        DataError: boxes are detected in a clip or frame that does not exist.
    """
    table = data.table_of(source.source)
    if source.source == "ground_truth":
        table = table.assign(detector_score=np.float32(1))
    else:
        check_frames(table, data.clips)
        table = table.rename(columns={"score": "detector_score"})
    table = table.assign(origin=source.source, stored=table.index)
    table = table[table["clip"].isin(set(names))]
    table = table[data.key_frames.contain(table)]
    order = table["clip"].map({clip: i for i, clip in enumerate(names)})
    table = table.assign(order=order).sort_values(
        ["order", "frame", "detector_score"], ascending=[True, True, False], kind="stable"
    )
    frames = table.groupby(["order", "frame"], sort=False)["detector_score"]
    read, keep = len(table), np.ones(len(table), bool)
    rank = frames.cumcount()
    if source.within is not None:
        # In float64 from the float32 scores, as a reader of the published file would compute it.
        score = table["detector_score"].astype(np.float64)
        best = frames.transform("first").astype(np.float64)
        keep &= ((score > best - source.within) | (rank == 0)).to_numpy()
    if source.top is not None:
        keep &= (rank < source.top).to_numpy()
    table = table[keep]
    inside = clip_to_picture(table, data.clips)
    logger.log(
        level,
        "boxes: %d %s on %d clips, %d kept, %d dropped by the filter, %d empty after clipping; "
        "%d clips have none",
        read, source.source, len(names), len(inside), read - len(table), len(table) - len(inside),
        len(names) - inside["clip"].nunique(),
    )  # fmt: skip
    columns = ["clip", "frame", *BOX_COLUMNS, "detector_score", "origin", "stored"]
    columns += [c for c in ("tube", "actions") if c in inside]
    return inside[columns].reset_index(drop=True)


def check_frames(detections: pd.DataFrame, clips: Clips) -> None:
    """Every detection lies in a frame of a known clip."""
    lengths = dict(zip(clips.table["clip"], clips.table["num_frames"].tolist(), strict=True))
    last = detections.groupby("clip")["frame"].agg(["min", "max"])
    for clip, first, final in last.itertuples():
        if clip not in lengths:
            raise DataError(f"boxes of clip {clip!r}, which clips.parquet does not list.")
        if first < 0 or final >= lengths[clip]:
            frame = first if first < 0 else final
            raise DataError(
                f"detections in frame {frame} of clip {clip!r}, whose frames are 0 to "
                f"{lengths[clip] - 1}; run detect again."
            )
