"""Writes what lies behind mAPs: `classes.csv`, `curves.csv`, `errors.csv` and `errors.png`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from stclip.evaluate.breakdown import CLASSES, CURVES, ERRORS, ReportPart
from stclip.evaluate.error_figures import draw_report
from stclip.storage.files import whole_file

FIGURE = "errors.png"


def write_report(folder: Path, parts: Mapping[str, ReportPart]) -> None:
    """Write the csv files and the figure.

    Args:
        folder: where to.
        parts: by name of the cell; the figure shows those of unseen labels.
    """
    tables = {
        name: pd.concat([getattr(p, part).assign(cell=cell) for cell, p in parts.items()])
        for name, part in ((CLASSES, "classes"), (CURVES, "curves"), (ERRORS, "errors"))
    }
    for name, table in tables.items():
        columns = ["cell", *(c for c in table if c != "cell")]
        with whole_file(folder / name) as temporary:
            table[columns].to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    with whole_file(folder / FIGURE) as temporary:
        draw_report(parts, temporary)
