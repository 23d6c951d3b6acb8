"""Zero-shot label splits: which class names are never seen, and which clips that selects.

A split file commits to class names only; its clips follow from the official split of the data set.
A clip may show several actions (AVA): it may be trained on only if none of them is unseen.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stclip.errors import ConfigError, DataError
from stclip.records import Clips, LabelSplit

logger = logging.getLogger(__name__)


def labels_of(clips: Clips) -> list[str]:
    """All actions that occur, sorted by name."""
    return sorted({str(action) for actions in clips.table["actions"] for action in actions})


def make_split(
    labels: Sequence[str], *, name: str, dataset: str, family: str, num_unseen: int, seed: int
) -> LabelSplit:
    """Draw `num_unseen` of the labels at random; both groups keep the order of `labels`.

    Raises:
        ConfigError: `num_unseen` leaves no base or no unseen label.
        DataError: a label is given twice.
    """
    if not 0 < num_unseen < len(labels):
        raise ConfigError(
            f"split {name} of {dataset}: num_unseen is {num_unseen}, allowed are 1 to "
            f"{len(labels) - 1} of {len(labels)} labels."
        )
    drawn = set(np.random.default_rng(seed).permutation(len(labels))[:num_unseen].tolist())
    return LabelSplit(
        dataset=dataset,
        family=family,
        name=name,
        base=tuple(label for i, label in enumerate(labels) if i not in drawn),
        unseen=tuple(label for i, label in enumerate(labels) if i in drawn),
        rule=f"{num_unseen} of {len(labels)} labels, drawn at random with the seed",
        seed=seed,
    )


def check_learnable(split: LabelSplit, exclusive: Sequence[str] | None) -> None:
    """Refuse base labels of which nothing can be learned: the softmax over one label is always 1.

    Args:
        split: its base labels are trained on.
        exclusive: the data set's `exclusive_labels`; None: all exclude each other.

    Raises:
        ConfigError: the only base label excludes nothing but others that are not there.
    """
    alone = [label for label in split.base if exclusive is None or label in exclusive]
    if len(alone) != 1:
        return
    what = f"{split.where}: {alone[0]!r} is the only base label that excludes others"
    if len(split.base) == 1:
        raise ConfigError(
            f"{what}: its probability is always 1, the loss 0, and nothing is learned. Add base "
            "labels, or choose methods that train nothing."
        )
    logger.warning("%s: its probability is always 1 and its loss 0; the others are learned", what)


def select_clips(
    split: LabelSplit, clips: Clips, *, test_split: str = "test", together: bool = False
) -> dict[str, list[str]]:
    """The clips of "train", "unseen" and "base", in the order of `clips`.

    - train: official train, at least one base action and no unseen one;
    - unseen: of the tested official split, at least one unseen action;
    - base: of the tested official split, at least one base action.

    With one action per clip this is the protocol of Huang et al. 2025. Where labels are scored
    `together`, every tested clip is one of both groups: a box without an unseen action can be a
    false positive of it.
    """
    chosen: dict[str, list[str]] = {"train": [], "unseen": [], "base": []}
    rows = zip(*(clips.table[c] for c in ("clip", "official_split", "actions")), strict=True)
    for clip, official, actions in rows:
        unseen = not set(split.unseen).isdisjoint(actions)
        base = not set(split.base).isdisjoint(actions)
        if official == "train" and base and not unseen:
            chosen["train"].append(clip)
        if official == test_split and (unseen or together):
            chosen["unseen"].append(clip)
        if official == test_split and (base or together):
            chosen["base"].append(clip)
    return chosen


def resolve_split(
    split: LabelSplit, clips: Clips, *, test_split: str = "test", together: bool = False
) -> LabelSplit:
    """Fill in the clips a label split selects (`select_clips`).

    Where labels are scored `together`, rare ones may occur in no clip: the evaluation counts them.
    Clips that nobody labelled can be scored, all tested ones for both groups, but not trained on.

    Raises:
        DataError: a label of the split occurs in no clip, or a group of clips stays empty.
    """
    known = labels_of(clips)
    if not known:
        return _all_tested(split, clips, test_split)
    unknown = sorted({*split.base, *split.unseen} - set(known))
    some_known = len(unknown) < len(split.base) + len(split.unseen)
    if together and unknown and some_known:
        logger.warning("%s: no clip shows %s", split.where, unknown)
        unknown = []
    if unknown:
        raise DataError(
            f"{split.where}: no clip shows {unknown}; known actions are {known}. Correct the names "
            "in the split file."
        )
    train, unseen_test, base_test = select_clips(
        split, clips, test_split=test_split, together=together
    ).values()
    if not (train and unseen_test and base_test):
        found = clips.table["official_split"].value_counts().to_dict()
        raise DataError(
            f"{split.where}: selects {len(train)} training clips, {len(unseen_test)} test clips "
            f"with unseen and {len(base_test)} with base actions, each must be at least 1. "
            f"Training takes official train clips without unseen actions, testing official "
            f"{test_split} clips; there are {found}."
        )
    logger.info(
        "%s: of %d clips %d to train on, %d test clips with unseen, %d with base actions",
        *(split.where, len(clips), len(train), len(unseen_test), len(base_test)),
    )
    return replace(
        split,
        train_clips=tuple(train),
        unseen_clips=tuple(unseen_test),
        base_clips=tuple(base_test),
    )


def _all_tested(split: LabelSplit, clips: Clips, test_split: str) -> LabelSplit:
    """The split of a data set without any label.

    Raises:
        DataError: nothing is tested.
    """
    table = clips.table
    tested = tuple(map(str, table.loc[table["official_split"] == test_split, "clip"]))
    if not tested:
        raise DataError(f"{split.where}: none of the {len(clips)} clips is a {test_split} clip.")
    logger.warning(
        "%s: no clip has a label: %d %s clips are scored for all labels; nothing can be trained or "
        "evaluated",
        *(split.where, len(tested), test_split),
    )
    return replace(split, train_clips=(), unseen_clips=tested, base_clips=tested)
