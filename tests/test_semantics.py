"""What labels mean: targets, probabilities and losses, worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch

from stclip.errors import DataError
from stclip.methods.label_semantics import (
    classification_loss,
    exclusive_mask,
    probabilities,
    targets_of,
)
from stclip.splits.label_texts import label_texts


def test_focal_loss_of_an_even_chance() -> None:
    # p = 1/2: (1 - 1/2)^2 * ln 2 = 0.25 * 0.693147 = 0.173287
    loss = classification_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0]]), kind="focal", gamma=2.0)
    assert loss.item() == pytest.approx(0.173287, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "gamma", "cost"),
    [
        ("focal", 2.0, lambda p: -((1 - p) ** 2) * math.log(p)),
        ("focal", 0.0, lambda p: -math.log(p)),
        ("ce", 2.0, lambda p: -math.log(p)),
    ],
)
def test_loss_is_the_mean_over_all_boxes(
    kind: str, gamma: float, cost: Callable[[float], float]
) -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [1.0, 1.0, -14.0]])
    labels = [0, 2, 2]
    targets = torch.eye(3)[labels]
    expected = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        p = math.exp(row[label]) / sum(math.exp(v) for v in row)
        expected.append(cost(p))
    loss = classification_loss(logits, targets, kind=kind, gamma=gamma)
    assert loss.item() == pytest.approx(sum(expected) / 3, rel=1e-6)


def test_probabilities_are_a_softmax_in_single_precision() -> None:
    # e^1 : e^0 = 2.718 : 1 -> 0.7311, 0.2689
    found = probabilities(torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert found[0].tolist() == pytest.approx([0.731059, 0.268941], abs=1e-6)


def test_targets_follow_the_label_order() -> None:
    found = targets_of([["run"], ["sit"]], ["sit", "wave", "run"])
    assert found.tolist() == [[0, 0, 1], [1, 0, 0]]
    for actions in (["jump"], ["run", "sit"], []):
        with pytest.raises(DataError, match=r"box 1 has the actions .* exactly one of \['sit', "):
            targets_of([["run"], actions], ["sit", "run"])


POSES_AND_MORE = ["stand", "sit", "talk to", "hold"]
POSES = exclusive_mask(POSES_AND_MORE, ["sit", "stand", "walk"])


def test_poses_share_a_softmax_and_the_others_are_independent() -> None:
    assert POSES.tolist() == [True, True, False, False]
    found = probabilities(torch.tensor([[1.0, 0.0, 0.0, 2.0]]), POSES)[0].tolist()
    # e^1 : e^0; 1 / (1 + e^0); 1 / (1 + e^-2)
    assert found == pytest.approx([0.731059, 0.268941, 0.5, 0.880797], abs=1e-6)
    assert exclusive_mask(["a", "b"], None).all()


def test_labels_of_a_group_without_a_pose_are_all_independent() -> None:
    mask = exclusive_mask(["talk to", "hold"], ["sit", "stand", "walk"])
    assert mask.tolist() == [False, False]
    logits = torch.zeros(1, 2, requires_grad=True)
    assert probabilities(logits, mask).tolist() == [[0.5, 0.5]]
    targets = torch.tensor([[1.0, 0]])
    loss = classification_loss(logits, targets, kind="ce", gamma=2.0, smoothing=0.1, exclusive=mask)
    assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.5, 0.5]]  # p - t


def test_loss_of_a_pose_and_independent_actions() -> None:
    # Pose at p = 1/2: 0.173287. "talk to" true, "hold" false, both at p = 1/2: 0.25 ln 2 each.
    logits = torch.zeros(1, 4)
    targets = torch.tensor([[1.0, 0, 1, 0]])
    loss = classification_loss(logits, targets, kind="focal", gamma=2.0, exclusive=POSES)
    assert loss.item() == pytest.approx(3 * 0.173287, abs=1e-6)
    # By the formula, element by element, for other numbers and rows with two poses and with none.
    logits = torch.tensor([[2.0, 1.0, -1.0, 0.5], [0.0, 1.0, 2.0, -2.0]])
    targets = torch.tensor([[1.0, 1, 0, 1], [0, 0, 1, 0]])
    expected = 0.0
    for row, true in zip(logits.tolist(), targets.tolist(), strict=True):
        shares = [math.exp(v) / (math.exp(row[0]) + math.exp(row[1])) for v in row[:2]]
        poses = [(1 - p) ** 2 * -math.log(p) for p, t in zip(shares, true, strict=False) if t]
        expected += sum(poses) / max(1, len(poses))
        for value, t in zip(row[2:], true[2:], strict=True):
            p = 1 / (1 + math.exp(-value))
            expected -= t * (1 - p) ** 2 * math.log(p) + (1 - t) * p**2 * math.log(1 - p)
    loss = classification_loss(logits, targets, kind="focal", gamma=2.0, exclusive=POSES)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-6)


def test_targets_of_several_actions() -> None:
    found = targets_of([["sit", "hold"], ["talk to"]], POSES_AND_MORE, ["stand", "sit"])
    assert found.tolist() == [[0, 1, 0, 1], [0, 0, 1, 0]]
    with pytest.raises(DataError, match=r"box 0 has the actions \[\]; needed are some of"):
        targets_of([[]], POSES_AND_MORE, ["stand"])


def test_label_texts_are_the_names_spaced_or_words() -> None:
    assert label_texts(["brush_hair", "run"], form="raw") == ["brush_hair", "run"]
    assert label_texts(["brush_hair", "run"], form="spaced") == ["brush hair", "run"]
    names = ["WalkingWithDog", "brush_hair", "TV", "turn (e.g., it)"]
    assert label_texts(names, form="spaced")[0] == "WalkingWithDog"
    words = ["Walking With Dog", "brush hair", "TV", "turn (e.g., it)"]
    assert label_texts(names, form="words") == words
