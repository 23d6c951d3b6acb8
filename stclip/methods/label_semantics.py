"""What a data set's labels mean: how logits become probabilities and a loss.

Labels that exclude each other share a softmax; the others are independent of all, a sigmoid each.
On single-label data (J-HMDB, UCF101-24) all labels exclude each other; on AVA the poses do.

Shape letters: see `stclip.methods`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from stclip.errors import DataError


def exclusive_mask(labels: Sequence[str], exclusive: Sequence[str] | None) -> Bool[Tensor, " K"]:
    """Which labels exclude each other: those that `exclusive` lists; None means all."""
    return torch.tensor([exclusive is None or label in exclusive for label in labels])


def targets_of(
    actions: Sequence[Sequence[str]], labels: Sequence[str], exclusive: Sequence[str] | None = None
) -> Float[Tensor, "R K"]:
    """Multi-hot rows over `labels`.

    Raises:
        DataError: a row has an action that is no label, or none; or, where all labels exclude each
            other, more than one.
    """
    index = {label: i for i, label in enumerate(labels)}
    rows: list[int] = []
    columns: list[int] = []
    for row, names in enumerate(actions):
        unknown = [name for name in names if name not in index]
        if unknown or not len(names) or (exclusive is None and len(names) != 1):
            needed = "exactly one of" if exclusive is None else "some of"
            raise DataError(
                f"box {row} has the actions {list(names)}; needed are {needed} {list(labels)}."
            )
        rows += [row] * len(names)
        columns += [index[name] for name in names]
    targets = torch.zeros(len(actions), len(labels))
    targets[rows, columns] = 1
    return targets


def probabilities(
    logits: Float[Tensor, "*R K"], exclusive: Bool[Tensor, " K"] | None = None
) -> Float[Tensor, "*R K"]:
    """Softmax over the labels that exclude each other, sigmoid of the others; in fp32.

    `exclusive` as `exclusive_mask` gives it; None means all.
    """
    logits = logits.float()
    if exclusive is None or bool(exclusive.all()):
        return logits.softmax(-1)
    exclusive = exclusive.to(logits.device)
    found = logits.sigmoid()
    found[..., exclusive] = logits[..., exclusive].softmax(-1)
    return found


def classification_loss(
    logits: Float[Tensor, "R K"],
    targets: Float[Tensor, "R K"],
    *,
    kind: Literal["focal", "ce"],
    gamma: float,
    smoothing: float = 0.0,
    exclusive: Bool[Tensor, " K"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over rows of the focal loss or of the cross-entropy.

    Of labels that exclude each other: -(1-p)^gamma log p of the true one's softmax; with p = 0.5
    and gamma 2 a row costs 0.1733. A row with several of them pays their mean, one with none
    nothing. Of the others: the sum over labels of -t (1-p)^gamma log p - (1-t) p^gamma log(1-p).
    The released ST-CLIP trains with gamma 2 and no class weights. `smoothing` spreads that share of
    a row over all labels that exclude each other.
    """
    logits = logits.float()
    gamma = gamma if kind == "focal" else 0.0
    if exclusive is None:
        exclusive = torch.ones(logits.shape[1], dtype=torch.bool)
    exclusive = exclusive.to(logits.device)
    log_p = logits[:, exclusive].log_softmax(-1)
    true = targets[:, exclusive]
    share = true / true.sum(-1, keepdim=True).clamp(min=1)  # of each row, 1 or 0 in all
    share = (1 - smoothing) * share + smoothing * share.sum(-1, keepdim=True) / share.shape[1]
    cost = -((1 - log_p.exp()) ** gamma * log_p * share).sum(-1)
    others, wanted = logits[:, ~exclusive], targets[:, ~exclusive]
    log_yes, log_no = F.logsigmoid(others), F.logsigmoid(-others)
    yes = wanted * (1 - log_yes.exp()) ** gamma * log_yes
    no = (1 - wanted) * (1 - log_no.exp()) ** gamma * log_no
    return (cost - (yes + no).sum(-1)).mean()
