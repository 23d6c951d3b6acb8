"""The errors behind a table, averaged over its runs."""

from pathlib import Path

import pandas as pd
import pytest

from stclip.errors import DataError
from stclip.tables.error_table import compare_errors, read_errors, write_comparison

RUN = {"title": "A", "order": 1, "assumptions": ["voted"], "scale": "mini"}


def errors(folder: Path, correct: int, gain: float) -> pd.DataFrame:
    """A run's file: 10 best-ranked rows, of which some are correct, the others duplicates."""
    lines = ["cell,label,kind,rows,top,gain"]
    for cell in ("detected/unseen/voted", "detected/unseen/independent", "gt/unseen/voted"):
        for label in ("sit", ""):
            lines.append(f"{cell},{label},correct,20,{correct},")
            for kind in ("wrong class", "localisation", "both", "background", "missed"):
                lines.append(f"{cell},{label},{kind},0,0,0")
            lines.append(f"{cell},{label},duplicate,30,{10 - correct},{gain}")
    folder.mkdir()
    (folder / "errors.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return read_errors(folder)


def test_mean_over_splits_and_seeds(tmp_path: Path) -> None:
    tables = [errors(tmp_path / "1", 4, 0.1), errors(tmp_path / "2", 8, 0.3)]
    (row,) = compare_errors([RUN, RUN], tables, boxes="detected").items()
    name, table = row
    table = table.set_index("kind")
    assert name == "A (voted)"
    assert table.loc["correct", "top"] == pytest.approx(0.6)
    assert table.loc["duplicate", "gain"] == pytest.approx(0.2)


def test_a_file_and_its_figure(tmp_path: Path) -> None:
    table = errors(tmp_path / "1", 4, 0.1)
    other = RUN | {"title": "B", "order": 2, "assumptions": ["independent", "voted"]}
    path = tmp_path / "errors" / "table2.csv"
    write_comparison([RUN, other], [table, table], path, boxes="detected", title="T")
    written = pd.read_csv(path)
    # by assumption, then in the methods' order, like the table itself
    assert written["row"].unique().tolist() == ["B (independent)", "A (voted)", "B (voted)"]
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"errors\.csv: no such file; run the evaluate stage"):
        read_errors(tmp_path)
    (tmp_path / "errors.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"columns \['a', 'b'\], not"):
        read_errors(tmp_path)
