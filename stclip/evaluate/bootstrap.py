"""How much a frame mAP depends on the videos of the test set, and on seeds: a Poisson bootstrap.

C clips, R replicates. In a replicate every clip counts a Poisson(1) number of times (Hanley and
MacGibbon 2006). The number depends on seed, clip name and replicate alone, so a clip weighs the
same in every split, method and box set: replicate r of two of them may be subtracted or averaged.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from stclip.evaluate.average_precision import weighted_all_point
from stclip.evaluate.frame_map import FrameMap

NUM_REPLICATES = 1000
_CDF = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])


def clip_weights(
    clips: Sequence[str], *, num_replicates: int = NUM_REPLICATES, seed: int = 0
) -> UInt8[np.ndarray, "C R"]:
    """How often each clip is drawn in each replicate.

    Args:
        clips: clip names.
        num_replicates: R; more replicates extend the rows, they do not change them.
        seed: seed of the whole bootstrap.

    Returns:
        (C, R), Poisson(1) numbers.
    """
    weights = np.empty((len(clips), num_replicates), np.uint8)
    for row, clip in zip(weights, clips, strict=True):
        digest = hashlib.sha256(f"{seed}|{clip}".encode()).digest()
        # raw bits, inverted here: unlike Generator.poisson their stream never changes with NumPy
        raw = np.random.PCG64(int.from_bytes(digest, "big")).random_raw(num_replicates)
        row[:] = np.searchsorted(_CDF, (raw >> np.uint64(11)) * 2.0**-53, side="right")
    return weights


def replicate_aps(
    result: FrameMap,
    *,
    found_clips: Int[np.ndarray, " N"],
    truth_clips: dict[str, Int[np.ndarray, " _"]],
    weights: UInt8[np.ndarray, "C R"],
) -> dict[str, Float[np.ndarray, " R"]]:
    """All-point AP of every class in every replicate.

    Args:
        result: the evaluation of N boxes.
        found_clips: (N,), 0..C-1, clip of each box.
        truth_clips: per class, the clip of each of its ground-truth boxes.
        weights: (C, R) of `clip_weights`.

    Returns:
        Per class (R,), fractions, NaN where a replicate has no ground truth of it.
    """
    return {
        label: weighted_all_point(
            ranking.is_hit(),
            found_clips[ranking.boxes[ranking.order]],
            np.bincount(truth_clips[label], minlength=len(weights)),
            weights,
        )
        for label, ranking in result.rankings.items()
    }


def mean_replicates(aps: Sequence[Float[np.ndarray, " R"]]) -> Float[np.ndarray, " R"]:
    """Frame mAP of every replicate: the mean over the classes that have ground truth in it.

    Returns:
        (R,), fractions; NaN where no class is left. Empty without any class.
    """
    num_replicates = len(aps[0]) if aps else 0
    total, num_classes = np.zeros(num_replicates), np.zeros(num_replicates, int)
    for ap in aps:
        total += np.nan_to_num(ap)
        num_classes += np.isfinite(ap)
    return np.divide(total, num_classes, out=np.full(len(total), np.nan), where=num_classes > 0)


def draw_seeds(num_seeds: int, num_replicates: int) -> Int[np.ndarray, "S R"]:
    """Which of S seeds each replicate draws, with replacement; the same for every row of a table.

    Returns:
        (S, R), numbers below S; all 0 for one seed, which leaves the bootstrap over clips as it is.
    """
    raw = np.random.PCG64(0).random_raw(num_seeds * num_replicates)  # as in `clip_weights`
    drawn = np.floor((raw >> np.uint64(11)) * 2.0**-53 * num_seeds).astype(int)
    return drawn.reshape(num_replicates, num_seeds).T


def interval(replicates: Float[np.ndarray, " R"]) -> tuple[float, float]:
    """The 95% percentile interval of replicates; NaN ones (no ground truth drawn) do not count."""
    low, high = np.nanpercentile(replicates, [2.5, 97.5])
    return float(low), float(high)
