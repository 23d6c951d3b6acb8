"""Means over classes: over all of a cell, and over the groups of labels that a data set names.

R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from stclip.evaluate.bootstrap import interval, mean_replicates
from stclip.evaluate.frame_map import mean_ap


@dataclass(frozen=True)
class ClassResults:
    """What each class of a cell came to; AP is NaN for a class without ground truth."""

    ap: dict[str, float]
    replicates: dict[str, Float[np.ndarray, " R"]]
    gt_boxes: dict[str, Int[np.ndarray, " _"]]  # the numbers of the boxes that show the class

    def with_classes_of(self, other: "ClassResults") -> "ClassResults":
        """The classes of both; box numbers must be of one table."""
        return ClassResults(
            self.ap | other.ap,
            self.replicates | other.replicates,
            self.gt_boxes | other.gt_boxes,
        )

    @property
    def without_truth(self) -> list[str]:
        """Classes that enter no mean."""
        return [label for label, value in self.ap.items() if not np.isfinite(value)]

    def mean(
        self, labels: Sequence[str] | None = None
    ) -> tuple[dict[str, Any], Float[np.ndarray, " R"]]:
        """The mean over the classes with ground truth, and how much entered it.

        Args:
            labels: of which classes; those that are not here do not count. None: all.

        Returns:
            `mAP` and its 95% `interval` (None without ground truth), `num_labels`, `num_classes`
            (those with ground truth), `num_gt_boxes`; and the replicates of the mean.
        """
        chosen = [label for label in self.ap if labels is None or label in labels]
        values = [self.ap[label] for label in chosen]
        replicates = mean_replicates([self.replicates[label] for label in chosen])
        num_classes = int(np.isfinite(values).sum())
        boxes = [self.gt_boxes[label] for label in chosen]
        cell = {
            "mAP": mean_ap(values) if num_classes else None,
            "interval": list(interval(replicates)) if num_classes else None,
            "num_labels": len(chosen),
            "num_classes": num_classes,
            "num_gt_boxes": len(np.unique(np.concatenate(boxes))) if boxes else 0,
        }
        return cell, replicates

    def group_means(
        self, groups: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Float[np.ndarray, " R"]]]:
        """`mean` of every group; replicates only of those with ground truth."""
        means = {name: self.mean(labels) for name, labels in groups.items()}
        return (
            {name: cell for name, (cell, _) in means.items()},
            {name: of for name, (cell, of) in means.items() if cell["num_classes"]},
        )


def mean_text(cell: Mapping[str, Any]) -> str:
    """A mean and what entered it, for the log."""
    value = "undefined" if cell["mAP"] is None else f"{100 * cell['mAP']:.2f}"
    return (
        f"mAP {value} over {cell['num_classes']} of {cell['num_labels']} labels, "
        f"{cell['num_gt_boxes']} ground-truth boxes"
    )
