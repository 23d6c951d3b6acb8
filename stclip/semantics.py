"""What a data set's labels mean: how logits become probabilities and a loss.

Legend: R rows of logits, K labels. Single-label data (J-HMDB, UCF101-24): softmax over the labels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from stclip.errors import DataError


def label_texts(labels: Sequence[str], *, form: str) -> list[str]:
    """What the text tower reads: the official names, or with spaces for underscores."""
    return [label.replace("_", " ") for label in labels] if form == "spaced" else list(labels)


def targets_of(actions: Sequence[Sequence[str]], labels: Sequence[str]) -> Float[Tensor, "R K"]:
    """Multi-hot rows over `labels`.

    Raises:
        DataError: a row has an action that is no label, or not exactly one.
    """
    index = {label: i for i, label in enumerate(labels)}
    targets = torch.zeros(len(actions), len(labels))
    for row, names in enumerate(actions):
        unknown = [name for name in names if name not in index]
        if unknown or len(names) != 1:
            raise DataError(
                f"box {row} has the actions {list(names)}; single-label data needs exactly one of "
                f"{list(labels)}."
            )
        targets[row, index[names[0]]] = 1
    return targets


def probabilities(logits: Float[Tensor, "R K"]) -> Float[Tensor, "R K"]:
    """Softmax over the labels, in fp32."""
    return logits.float().softmax(-1)


def classification_loss(
    logits: Float[Tensor, "R K"],
    targets: Float[Tensor, "R K"],
    *,
    kind: Literal["focal", "ce"],
    gamma: float,
) -> Float[Tensor, ""]:
    """Mean over rows of the softmax focal loss -(1-p)^gamma log p, or of the cross-entropy.

    The released ST-CLIP trains with gamma 2 and no class weights; with p = 0.5 a row costs 0.1733.
    """
    log_p = (logits.float().log_softmax(-1) * targets).sum(-1)  # (R,)
    if kind == "ce":
        return -log_p.mean()
    return -((1 - log_p.exp()) ** gamma * log_p).mean()
