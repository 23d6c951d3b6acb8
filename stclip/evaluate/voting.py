"""The assumption that a video shows one action, as a function of scores (soft voting).

Every method writes scores per box; what is assumed about the video is decided afterwards.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stclip.records import Scores


def independent(scores: Scores) -> Scores:
    """Every box keeps its own class probabilities."""
    return scores


def vote(scores: Scores) -> Scores:
    """Give every box of a clip the mean class probabilities of all scored boxes of that clip.

    The mean is unweighted: a box votes with one vote whatever its detector score, which multiplies
    the voted probabilities afterwards as it does without voting. Soft voting is named in Huang et
    al. 2025, sec. 5; details are ours (docs/protocol.md).

    Args:
        scores: rows of any number of clips, in any order.

    Returns:
        The same boxes in the same order, equal probabilities within a clip.
    """
    codes, clips = pd.factorize(scores.table["clip"])
    probabilities = scores.probabilities.astype(np.float64)
    votes = np.bincount(codes, minlength=len(clips))
    sums = [np.bincount(codes, weights=column, minlength=len(clips)) for column in probabilities.T]
    mean = np.stack(sums, axis=1) / votes[:, None]  # (clips, labels)
    return Scores.from_parts(scores.table, mean[codes], scores.labels)


# an assumption's name in metrics.json and in a method's `assumptions` -> what it does to scores
INDEPENDENT, VOTED = "independent", "voted"
ASSUMPTIONS: dict[str, Callable[[Scores], Scores]] = {INDEPENDENT: independent, VOTED: vote}
