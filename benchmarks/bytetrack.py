"""Our linking of detections a second apart beside ByteTrack's own, as `trackers` has it.

    python benchmarks/bytetrack.py --boxes data/mini/ava/boxes.parquet
        --detections data/mini/ava/detections/tiny_films/all.parquet
        [--out benchmarks/results/bytetrack.csv]

Needs `trackers`, which the project does not: an environment with it, NumPy, SciPy, pandas, pyarrow,
pydantic, jaxtyping and this package on PYTHONPATH is enough. A link joins a box to the box before
it in its track. `right`: links between two boxes of one annotated person (IoU of 0.5 up);
`wrong`: of two persons, or of a person and nobody; `in common`: links that ours has as well.
`last box`: ByteTrack with the last box of a track in place of its Kalman filter's prediction.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from results_file import put

from stclip.boxes.iou import paired_iou
from stclip.boxes.two_scores import TwoScoreLinking, track_numbers
from stclip.records import BOX_COLUMNS, Boxes, Detections

# Those of ZS-AVA, one frame a second.
LINKING = TwoScoreLinking(high=0.6, iou=0.2, low_iou=0.2, patience=2)
Links = set[tuple[int, int]]  # rows of the detections, the earlier first


def main() -> None:
    """Link one set of detections by each, and count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--boxes", type=Path, required=True, help="ground truth with person ids")
    parser.add_argument("--detections", type=Path, required=True)
    parser.add_argument("--at-least", type=float, default=0.7, help="score; T of the data set")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    try:
        from trackers_bytetrack import LastBox, Predicted, bytetrack
    except ModuleNotFoundError as error:
        parser.error(f"{error}: it compares with `trackers`; `pip install trackers` beside stclip.")

    truth, found = Boxes.read(args.boxes).table, Detections.read(args.detections).table
    found = found[found["score"] >= args.at_least]
    seconds = truth[["clip", "frame"]].drop_duplicates()
    found = found.merge(seconds, on=["clip", "frame"]).reset_index(drop=True)
    persons = who(found, truth)
    ours = links_of(found, ours_of(found))
    ways: dict[str, Links] = {
        "two_scores": ours,
        "ByteTrack": links_of(found, bytetrack(found, LINKING, Predicted)),
        "ByteTrack, last box": links_of(found, bytetrack(found, LINKING, LastBox)),
    }
    frames = found["frame"].to_numpy()
    of_truth = [
        (a, b)
        for a, b in links_of(found, pd.Series(persons))
        if frames[b] - frames[a] <= LINKING.patience
    ]
    rows = []
    for name, links in ways.items():
        right = sum(persons[a] >= 0 and persons[a] == persons[b] for a, b in links)
        rows.append(
            {
                "linking": name, "boxes": len(found), "links": len(links), "right": right,
                "wrong": len(links) - right, "right of": len(of_truth),
                "in common": len(links & ours),
            }
        )  # fmt: skip
    put(pd.DataFrame(rows).to_csv(index=False), args.out)


def ours_of(found: pd.DataFrame) -> pd.Series:
    """The track of each detection by `stclip.boxes.two_scores`."""
    numbers = track_numbers(
        groups=found.groupby("clip").ngroup().to_numpy(),
        frames=found["frame"].to_numpy(),
        boxes_xyxy=found[BOX_COLUMNS].to_numpy(np.float64),
        scores=found["score"].to_numpy(),
        linking=LINKING,
    )
    return pd.Series(numbers, index=found.index)


def links_of(found: pd.DataFrame, tracks: pd.Series) -> Links:
    """Each box with the one before it in its track."""
    table = found.assign(track=tracks.to_numpy())
    table = table[table["track"] >= 0].sort_values(["clip", "track", "frame"], kind="stable")
    same = (table[["clip", "track"]].shift() == table[["clip", "track"]]).all(axis=1)
    rows = table.index.to_numpy()
    pairs: Iterable[tuple[int, int]] = zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
    return {pair for pair, joined in zip(pairs, same.to_numpy()[1:], strict=True) if joined}


def who(found: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """The annotated person that each detection overlaps most, by at least one half; -1: nobody."""
    pairs = found.reset_index(names="row").merge(truth, on=["clip", "frame"], suffixes=("", "_of"))
    corners = [f"{column}_of" for column in BOX_COLUMNS]
    overlap = paired_iou(pairs[BOX_COLUMNS].to_numpy(), pairs[corners].to_numpy())
    pairs = pairs.assign(overlap=overlap)[overlap >= 0.5].sort_values("overlap", kind="stable")
    best = pairs.drop_duplicates("row", keep="last").set_index("row")["tube"]
    return best.reindex(found.index, fill_value=-1).to_numpy()


if __name__ == "__main__":
    main()
