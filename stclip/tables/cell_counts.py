"""Of main tables: means over kinds of labels, and what entered a mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from stclip.tables.aggregate import RunContent, Values
from stclip.tables.cells import MISSING, percent

Cells = Sequence[tuple[RunContent, Mapping[str, Any]]]  # of `cells_of`


def group_columns(cells: Cells, splits: Sequence[str]) -> dict[str, str]:
    """A column per `label_groups` of the data set: the mean over the label splits that have any.

    A label split without a class of the kind that has ground truth does not count; a run that is
    not there leaves all of them empty.
    """
    groups = list(dict.fromkeys(name for _, cell in cells for name in cell.get("label_groups", {})))
    complete = {run["split"] for run, _ in cells} >= {*splits}
    columns = {}
    for name in groups:
        found = Values()
        for run, cell in cells:
            value = cell["label_groups"][name]["mAP"]
            if value is not None:
                found.by_split[run["split"]][run["seed"]] = value
        mean = found.average([s for s in splits if s in found.by_split]) if complete else None
        columns[name] = percent(mean)
    return columns


def class_columns(cells: Cells, splits: Sequence[str]) -> dict[str, str]:
    """A column per label split: classes with ground truth of all, and the boxes that show them."""
    texts = {
        run["split"]: (
            f"{cell['num_classes']} of {len(cell['AP'])} ({cell['num_gt_boxes']:,} boxes)"
        )
        for run, cell in cells
    }
    return {f"classes {split}": texts.get(split, MISSING) for split in splits}
