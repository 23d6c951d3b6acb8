"""Table 2 from run dictionaries: values, rows and columns worked out by hand."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stclip.config import read_yaml
from stclip.config.table import MainTable
from stclip.errors import DataError
from stclip.report.page_tables import read_page_table
from stclip.tables.aggregate import harmonic_mean
from stclip.tables.main_table import build_main
from stclip.tables.table_files import read_table, render_text, write_table

TABLE2 = read_yaml(Path(__file__).parents[1] / "config" / "tables" / "table2.yaml")
PUBLISHED = TABLE2["published"]
SPLITS = ["1", "2"]


def run(method: str, split: str, unseen: float, base: float, **changes: Any) -> dict[str, Any]:
    """A metrics.json: voted is 0.1 above independent, ground-truth boxes 0.2 above detected."""

    def cells(value: float) -> dict[str, Any]:
        return {"independent": {"mAP": value}, "voted": {"mAP": value + 0.1}}

    return {
        "method": method,
        "title": method.upper(),
        "order": 1,
        "assumptions": ["independent", "voted"],
        "scale": "mini",
        "dataset": "jhmdb",
        "family": "st-clip",
        "benchmark": "b",
        "split": split,
        "split_sha256": f"sha of {split}",
        "seed": 0,
        "metrics": {
            "detected": {"unseen": cells(unseen), "base": cells(base)},
            "gt": {"unseen": cells(unseen + 0.2), "base": cells(base + 0.2)},
        },
    } | changes


def samples(low: float, high: float) -> pd.DataFrame:
    """41 replicates from low to high in equal steps: percentile p lies p% of the way."""
    values = pd.Series(range(41)) / 40 * (high - low) + low
    return pd.DataFrame({f"detected/unseen/{a}": values for a in ("independent", "voted")})


def table(
    runs: list[dict[str, Any]],
    replicates: list[pd.DataFrame] | None = None,
    published: dict[str, Any] | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Table 2 of two splits; the paper's values are shown where they are given."""
    content = TABLE2 | {"splits": SPLITS, "published": published or {}} | changes
    samples_of = replicates or [samples(0, 1)] * len(runs)
    shown = published is not None
    return build_main(MainTable.model_validate(content), runs, samples_of, published=shown)


def test_values_by_hand() -> None:
    runs = [
        run("m", "1", 0.3, 0.5),
        run("m", "1", 0.4, 0.7, seed=1),
        run("m", "2", 0.45, 0.8),
    ]
    replicates = [samples(0.2, 0.4), samples(0.4, 0.6), samples(0.3, 0.5)]
    frame = table(runs, replicates=replicates)
    # Split 1: mean of two seeds, unseen 0.35, base 0.6. avg (0.35 + 0.45) / 2 = 0.4, base 0.7,
    # H = 2 x 0.4 x 0.7 / 1.1 = 0.50909. On ground-truth boxes 0.6 and 0.9: H* = 1.08 / 1.5 = 0.72.
    # Replicates: split 1 0.3..0.5, split 2 0.3..0.5; 2.5% of the way 0.305, 97.5% 0.495.
    assert frame.iloc[0].to_dict() == {
        "method": "M",
        "assumption": "independent",
        "split 1": "35.00",
        "split 2": "45.00",
        "avg": "40.00",
        "avg 95% interval": "[30.50, 49.50]",
        "H": "50.91",
        "avg*": "60.00",
        "H*": "72.00",
        "seeds": "1-2",
        "scale": "mini",
        "benchmark": "b",
    }
    # Voted, 0.1 more each: unseen 0.5, base 0.8, H = 0.8 / 1.3.
    assert frame.iloc[1][["assumption", "avg", "H"]].to_list() == ["voted", "50.00", "61.54"]


def test_harmonic_mean() -> None:
    assert harmonic_mean(0.5, 0.5) == 0.5
    assert harmonic_mean(1, 0) == 0
    assert harmonic_mean(0, 0) == 0


def test_a_missing_split_leaves_gaps_and_is_never_filled() -> None:
    frame = table([run("st_clip", "1", 0.5, 0.5)], published=PUBLISHED)
    row = frame.iloc[0]
    assert row["split 1"] == "50.00"
    assert set(row[["split 2", "avg", "avg 95% interval", "H", "avg*", "H*"]]) == {"-"}
    assert row["seeds"] == "0-1"
    assert row["published split 2"] == "74.97"


def test_missing_box_sources_leave_gaps() -> None:
    runs = [run("m", split, 0.5, 0.5) for split in SPLITS]
    for each in runs:
        del each["metrics"]["gt"]
        del each["metrics"]["detected"]["base"]
    row = table(runs).iloc[0]
    assert row[["avg", "H", "avg*", "H*"]].to_list() == ["50.00", "-", "-", "-"]


def test_blocks_then_order_then_title() -> None:
    runs = [
        run("video", "1", 0.1, 0.1, order=3, assumptions=["voted"]),
        run("late", "1", 0.1, 0.1, order=9),
        run("b", "1", 0.1, 0.1, order=2),
        run("a", "1", 0.1, 0.1, order=2, assumptions=["independent"]),
    ]
    frame = table(runs)
    assert list(zip(frame["assumption"], frame["method"], strict=True)) == [
        ("independent", "A"),
        ("independent", "B"),
        ("independent", "LATE"),
        ("voted", "B"),
        ("voted", "VIDEO"),
        ("voted", "LATE"),
    ]


def test_published_values_stand_apart() -> None:
    runs = [run(m, s, 0.5, 0.5) for m in ("st_clip", "own") for s in SPLITS]
    frame = table(runs, published=PUBLISHED).set_index(["assumption", "method"])
    columns = [c for c in frame if c.startswith("published")]
    assert columns == [
        "published split 1",
        "published split 2",
        "published avg",
        "published H",
        "published avg*",
        "published H*",
    ]
    expected = ["74.55", "74.97", "79.08", "77.65", "85.53", "84.32"]
    assert frame.loc[("independent", "ST_CLIP"), columns].to_list() == expected
    expected = ["79.62", "78.70", "82.84", "80.96", "90.12", "88.48"]
    assert frame.loc[("voted", "ST_CLIP"), columns].to_list() == expected
    assert set(frame.loc[("voted", "OWN"), columns]) == {"-"}
    assert frame.loc[("independent", "ST_CLIP"), "avg"] == "50.00"


def test_published_averages_are_those_of_their_splits() -> None:
    for methods in PUBLISHED.values():
        for boxes in methods.values():
            for values in boxes.values():
                mean = sum(values[s] for s in "1234") / 4
                assert values.get("avg", mean) == pytest.approx(mean, abs=0.0051)


def test_misspelt_published_values_are_refused() -> None:
    for published in ({"vote": {}}, {"voted": {"m": {"gt": {"1": "x"}}}}):
        with pytest.raises(ValueError, match=r"published\.vote"):
            table([run("m", "1", 0.5, 0.5)], published=published)


def test_base_classes_and_ground_truth_as_the_main_boxes() -> None:
    runs = [run("m", split, 0.3, 0.5) for split in SPLITS]
    columns = ["splits", "avg", "base", "H", "seeds"]
    detected = table(runs, columns=columns).iloc[0]
    names = ["method", "assumption", "split 1", "split 2", "avg", "base", "H", "seeds"]
    assert detected.index.to_list() == names
    # H = 2 x 0.3 x 0.5 / 0.8
    assert detected[["avg", "base", "H"]].to_list() == ["30.00", "50.00", "37.50"]
    on_truth = table(runs, columns=columns, boxes="gt", starred=None).iloc[0]
    # H = 2 x 0.5 x 0.7 / 1.2
    assert on_truth[["avg", "base", "H"]].to_list() == ["50.00", "70.00", "58.33"]
    named = [run("st_clip", split, 0.3, 0.5) for split in SPLITS]
    shown = table(named, published=PUBLISHED, columns=columns, boxes="gt", starred=None).iloc[0]
    assert shown["published split 1"] == "79.02"
    assert not [name for name in shown.index if name.endswith("*")]


def test_means_by_kind_of_label_and_what_entered_them() -> None:
    def of(split: str, pose: float | None, other: float, classes: int) -> dict[str, Any]:
        cell = {
            "mAP": 0.3, "AP": {"lie": pose, "wave": other}, "num_classes": classes,
            "num_gt_boxes": 1234, "label_groups": {"pose": {"mAP": pose}, "other": {"mAP": other}},
        }  # fmt: skip
        return run("a", split, 0.3, 0.3, metrics={"detected": {"unseen": {"independent": cell}}})

    columns = {"columns": ["groups", "classes"], "assumptions": ["independent"], "starred": None}
    found = table([of("1", None, 0.25, 1), of("2", 0.5, 0.75, 2)], **columns)
    assert found.iloc[0].to_dict() == {
        "method": "A", "assumption": "independent",
        "pose": "50.00",  # no such class with ground truth in split 1
        "other": "50.00",
        "classes 1": "1 of 2 (1,234 boxes)", "classes 2": "2 of 2 (1,234 boxes)",
    }  # fmt: skip
    part = table([of("1", 0.5, 0.25, 2)], **columns)  # split 2 is not there yet
    assert part[["pose", "other", "classes 2"]].to_numpy().tolist() == [["-", "-", "-"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "paper", "seed": 1}, r"several scales \(mini, paper\) cannot share a table"),
        ({"dataset": "ucf", "seed": 1}, r"several datasets \(jhmdb, ucf\)"),
        ({}, r"method m, split 1, seed 0: given twice"),
        ({"seed": 1, "split_sha256": "x"}, r"method m, split 1, seed 1: made with another version"),
        ({"split": "3"}, r"the table has splits \['1', '2'\], not '3'"),
        (
            {"seed": 1, "assumptions": ["vote"]},
            r"unknown assumptions \['vote'\], or none; known are",
        ),
        ({"seed": 1, "assumptions": []}, r"unknown assumptions \[\], or none; known are"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table([run("m", "1", 0.5, 0.5), run("m", "1", 0.5, 0.5) | change])


def test_incomplete_input_is_refused() -> None:
    with pytest.raises(DataError, match="no runs for the table"):
        table([])
    broken = run("m", "1", 0.5, 0.5)
    del broken["order"]
    with pytest.raises(
        DataError, match=r"method m, split 1, seed 0: metrics.json lacks \['order'\]"
    ):
        table([broken])
    two = [run("m", split, 0.5, 0.5) for split in SPLITS]
    with pytest.raises(DataError, match=r"\[40, 41\] bootstrap replicates"):
        table(two, replicates=[samples(0, 1), samples(0, 1).iloc[1:]])


def test_files_say_the_same(tmp_path: Path) -> None:
    runs = [run("st_clip", split, 0.5, 0.5, title="ST_CLIP & co") for split in SPLITS]
    frame = table(runs, published=PUBLISHED)
    path = tmp_path / "results" / "table2.csv"
    write_table(frame, path)
    pd.testing.assert_frame_equal(read_table(path), frame)
    markdown = path.with_suffix(".md").read_text("utf-8")
    assert "| ST_CLIP & co | independent" in markdown
    latex = path.with_suffix(".tex").read_text("utf-8")
    assert r"ST\_CLIP \& co & independent & 50.00" in latex
    assert r"avg 95\% interval" in latex
    assert r"\toprule" in latex
    assert latex.count(r"\\") == len(frame) + 1
    assert "ST_CLIP & co  independent   50.00" in render_text(frame)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "table2.csv",
        "table2.md",
        "table2.tex",
    ]


def test_latex_has_one_cell_per_column_and_nothing_unescaped(tmp_path: Path) -> None:
    runs = [run("m", "1", 0.5, 0.5, title="A_b #1 {x} 100% $5 ~ ^ & \\")]
    frame = table(runs, published=PUBLISHED)
    write_table(frame, tmp_path / "t.csv")
    lines = (tmp_path / "t.tex").read_text("utf-8").splitlines()
    rows = [line for line in lines if line.endswith(r" \\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [len(frame.columns) - 1] * 3
    assert not re.search(r"(?<!\\)[_#%$~^]", "".join(rows))
    assert lines[0] == r"\begin{tabular}{ll" + "r" * (len(frame.columns) - 2) + "}"
    assert lines[-1] == r"\end{tabular}"


def test_bars_and_line_breaks_in_titles_are_no_syntax(tmp_path: Path) -> None:
    runs = [run("m", "1", 0.5, 0.5, title="CLIP | a\nb")]
    frame = table(runs)
    write_table(frame, tmp_path / "t.csv", caption="|x| of\nall")
    caption, rows = (tmp_path / "t.md").read_text("utf-8").split("\n\n")
    assert caption == "|x| of all"
    lines = rows.splitlines()
    assert len(lines) == 2 + len(frame)  # names, rule, rows
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(frame.columns) + 1}
    assert r"| CLIP \| a b" in lines[2]
    first, *latex = (tmp_path / "t.tex").read_text("utf-8").splitlines()
    assert first == "% |x| of all"
    assert "|" not in "".join(latex)
    assert r"CLIP \textbar{} a b & independent" in "".join(latex)
    assert read_page_table(tmp_path / "t.csv").caption == "|x| of all"


def test_tables_and_metrics_do_without_the_heavy_libraries() -> None:
    code = (
        "import sys, stclip.tables.main_table, stclip.evaluate.evaluate, stclip.evaluate.outside;"
        "assert not {'torch', 'open_clip', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table2\.csv: no such file; run the tables stage"):
        read_table(tmp_path / "table2.csv")
    (tmp_path / "table2.csv").write_text("")
    with pytest.raises(DataError, match="not a table"):
        read_table(tmp_path / "table2.csv")
