"""Linking, tube overlap, suppression and video AP as plain loops: what the fast ones must equal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stclip.boxes.iou import paired_iou
from stclip.boxes.linking import Linking
from stclip.boxes.tubes import Tubes
from stclip.evaluate.frame_map import mean_ap
from stclip.evaluate.matching import Pairs, in_ranking
from stclip.evaluate.video_map import VideoProtocol


@dataclass(frozen=True)
class Tube:
    """Boxes of the frames first, first + 1, ... of a clip."""

    first: int
    boxes_xyxy: np.ndarray  # (n, 4), pixels
    score: float = 1.0

    @property
    def last(self) -> int:
        return self.first + len(self.boxes_xyxy) - 1


ByLabel = Mapping[int, Mapping[int, Sequence[Tube]]]  # label -> clip -> tubes


def stacked(tubes: ByLabel) -> Tubes:
    """The same tubes as one record, in the same order."""
    flat = [(k, c, t) for k, by_clip in tubes.items() for c, own in by_clip.items() for t in own]
    lengths = np.array([len(t.boxes_xyxy) for *_, t in flat], np.int64)
    return Tubes(
        labels=np.array([k for k, *_ in flat], np.int64),
        clips=np.array([c for _, c, _ in flat], np.int64),
        firsts=np.array([t.first for *_, t in flat], np.int64),
        lengths=lengths,
        starts=np.cumsum(lengths) - lengths,
        boxes_xyxy=np.concatenate([np.empty((0, 4)), *(t.boxes_xyxy for *_, t in flat)]),
        scores=np.array([t.score for *_, t in flat], np.float64),
    )


def listed(tubes: Tubes) -> Iterator[tuple[int, int, Tube]]:
    """Label, clip and tube, in order."""
    for t in range(len(tubes)):
        tube = Tube(int(tubes.firsts[t]), tubes.boxes(t), float(tubes.scores[t]))
        yield int(tubes.labels[t]), int(tubes.clips[t]), tube


def tube_iou(one: Tube, other: Tube, *, plus: int) -> float:
    begin, end = max(one.first, other.first), min(one.last, other.last)
    shared = end - begin + plus
    if end < begin or shared <= 0:
        return 0.0
    union = max(one.last, other.last) - min(one.first, other.first) + plus
    a, b = (t.boxes_xyxy[begin - t.first : end - t.first + 1] for t in (one, other))
    return float(paired_iou(a, b, plus=plus).mean()) * shared / union


def suppress(tubes: Sequence[Tube], *, threshold: float, plus: int) -> list[Tube]:
    kept: list[Tube] = []
    for tube in sorted(tubes, key=lambda t: -t.score):
        if all(tube_iou(tube, other, plus=plus) <= threshold for other in kept):
            kept.append(tube)
    return kept


class _Growing:
    """A tube under construction: the frames that extended it, and which box each gave."""

    def __init__(self, frame: int, row: int, score: float) -> None:
        self.frames, self.rows, self.total = [frame], [row], score

    @property
    def score(self) -> float:
        return self.total / len(self.rows)

    def finished(self, boxes: np.ndarray) -> Tube:
        wanted = np.arange(self.frames[0], self.frames[-1] + 1)
        columns = [np.interp(wanted, self.frames, column) for column in boxes[self.rows].T]
        return Tube(self.frames[0], np.stack(columns, axis=1), self.score)


def link(frames: np.ndarray, boxes: np.ndarray, scores: np.ndarray, linking: Linking) -> list[Tube]:
    """Tubes of one clip and one label by falling score; boxes, and a frame and a score of each."""
    active: list[_Growing] = []
    ended: list[_Growing] = []
    for frame in sorted(set(frames.tolist())):
        ended += [t for t in active if frame - t.frames[-1] > linking.patience]
        active = [t for t in active if frame - t.frames[-1] <= linking.patience]
        left = _strongest(np.flatnonzero(frames == frame).tolist(), boxes, scores, linking)
        for tube in sorted(active, key=lambda t: -t.score):
            last = tube.rows[-1]
            near = next((r for r in left if _iou(boxes, last, r) >= linking.iou), None)
            if near is not None:  # `left` is by falling score
                left.remove(near)
                tube.frames.append(frame)
                tube.rows.append(near)
                tube.total += float(scores[near])
        active += [_Growing(frame, row, float(scores[row])) for row in left]
    tubes = [tube.finished(boxes) for tube in (*ended, *active)]
    long = [t for t in tubes if len(t.boxes_xyxy) >= linking.min_frames]
    return sorted((t for t in long if t.score >= linking.min_score), key=lambda t: -t.score)


def _strongest(
    rows: list[int], boxes: np.ndarray, scores: np.ndarray, linking: Linking
) -> list[int]:
    """Rows by falling score after non-maximum suppression, at most `top`."""
    kept: list[int] = []
    for row in sorted(rows, key=lambda r: -scores[r]):
        if all(_iou(boxes, row, other) <= linking.nms for other in kept):
            kept.append(row)
        if len(kept) == linking.top:
            break
    return kept


def _iou(boxes: np.ndarray, one: int, other: int) -> float:
    return float(paired_iou(boxes[[one]], boxes[[other]])[0])


def class_ap(
    found: Mapping[int, Sequence[Tube]],
    truth: Mapping[int, Sequence[Tube]],
    protocol: VideoProtocol,
    threshold: float,
) -> float:
    """Average precision of one label; tubes by clip."""
    scores: list[float] = []
    pairs: list[tuple[int, int, float]] = []
    num_truth = 0
    for clip in {**found, **truth}:
        tubes: Sequence[Tube] = found.get(clip, ())
        if protocol.nms is not None:
            tubes = suppress(tubes, threshold=protocol.nms, plus=protocol.plus)
        for row, tube in enumerate(tubes, len(scores)):
            for column, other in enumerate(truth.get(clip, ()), num_truth):
                pairs.append((row, column, tube_iou(tube, other, plus=protocol.plus)))
        scores += [tube.score for tube in tubes]
        num_truth += len(truth.get(clip, ()))
    rows, columns, overlaps = np.array(pairs, np.float64).reshape(-1, 3).T
    enough = overlaps >= threshold
    close = Pairs(rows[enough].astype(int), columns[enough].astype(int), overlaps[enough])
    ranked = np.array(scores, np.float64)
    return protocol.area(in_ranking(protocol.match(close, ranked).found, ranked)[1], num_truth)


def video_ap(found: ByLabel, truth: ByLabel, protocol: VideoProtocol, threshold: float) -> float:
    """Mean average precision over the labels with ground truth."""
    return mean_ap(class_ap(found.get(k, {}), truth[k], protocol, threshold) for k in truth)
