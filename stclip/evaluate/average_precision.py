"""Area under the precision-recall curve: all-point, trapezoid, and all-point for weighted clips.

N detections in falling score, H of them hits, C clips, R replicates.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

_CELLS = 1 << 22  # of an (H, replicates) matrix held at a time: 16 MiB each in float32
_EXACT = 1 << 24  # float32 holds every whole number up to here


def all_point(ranks: Int[np.ndarray, " H"], num_positives: int) -> float:
    """Area under the precision envelope over recall.

    The envelope at a rank is the best precision at this or any later rank. Recall only grows at
    hits, and precision only falls between them, so looking at the hits is enough.

    Args:
        ranks: (H,), places of the true positives in the ranking, from 0, rising.
        num_positives: ground-truth boxes of the class.

    Returns:
        The average precision in 0..1; 0 without hits, NaN without ground truth.
    """
    if num_positives == 0:
        return float("nan")
    precision = np.arange(1, len(ranks) + 1) / (ranks + 1)
    envelope = np.maximum.accumulate(precision[::-1])
    return float(envelope.sum() / num_positives)


def trapezoid(ranks: Int[np.ndarray, " H"], num_positives: int) -> float:
    """Area of trapezoids under the raw curve, which starts at precision 1; no envelope.

    As ACT's and MOC's evaluators integrate. Arguments and result as `all_point`.
    """
    if num_positives == 0:
        return float("nan")
    hits = np.arange(1, len(ranks) + 1)
    after = hits / (ranks + 1)
    before = np.where(ranks > 0, (hits - 1) / np.maximum(ranks, 1), 1.0)
    return float((after + before).sum() / 2 / num_positives)


def weighted_all_point(
    hits: Bool[np.ndarray, " N"],
    clips: Int[np.ndarray, " N"],
    positives: Int[np.ndarray, " C"],
    weights: Shaped[np.ndarray, "C R"],
) -> Float[np.ndarray, " R"]:
    """Average precision if clip c occurred `weights[c, r]` times, for every replicate r.

    Whole-number weights give what `all_point` gives on the repeated data: copies share
    their score, and neither a run of hits nor one of misses changes the envelope at its end.

    Args:
        hits: (N,), whether the detection of each rank is a true positive.
        clips: (N,), 0..C-1, the clip of each ranked detection.
        positives: (C,), ground-truth boxes of the class in each clip.
        weights: (C, R), whole numbers, how often each clip is drawn in each replicate.

    Returns:
        float64 (R,) in 0..1, NaN in replicates without ground truth.
    """
    num_clips, num_replicates = weights.shape
    num_positives = positives.astype(np.float64) @ weights.astype(np.float64)  # (R,)
    areas = np.zeros(num_replicates)
    at = np.flatnonzero(hits)
    if len(at):
        # detections of every clip up to and including each hit: the rest is one matrix product
        segment = np.searchsorted(at, np.arange(at[-1] + 1))
        cells = segment * num_clips + clips[: at[-1] + 1]
        counts = np.bincount(cells, minlength=len(at) * num_clips).reshape(len(at), num_clips)
        heaviest = len(hits) * float(weights.max(initial=0))
        exact = np.float32 if heaviest < _EXACT else np.float64
        seen: np.ndarray = counts.cumsum(0).astype(exact)  # (H, C)
        step = max(1, _CELLS // len(at))
        for start in range(0, num_replicates, step):
            part = slice(start, start + step)
            chunk: np.ndarray = weights[:, part].astype(exact)
            gained = chunk[clips[at]]  # (H, r)
            found = gained.cumsum(0)
            ranked = seen @ chunk  # (H, r); 0 only where nothing was drawn yet
            precision = found / np.maximum(ranked, 1)
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            areas[part] = np.einsum("hr,hr->r", gained, envelope, dtype=np.float64)
    return np.divide(
        areas, num_positives, out=np.full(num_replicates, np.nan), where=num_positives > 0
    )
