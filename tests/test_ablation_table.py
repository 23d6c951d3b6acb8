"""Tables of ablations from run dictionaries: cells worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.config.table import AblationTable
from stclip.errors import DataError
from stclip.evaluate.bootstrap import draw_seeds
from stclip.tables.ablation_table import build_ablation
from stclip.tables.table_files import write_table

COLUMN = "detected/unseen/independent"
Run = tuple[dict[str, Any], pd.DataFrame]


def config(**changes: Any) -> AblationTable:
    rows = [{"method": "m+small", "title": "small"}, {"method": "m", "title": "full"}]
    content = {"kind": "ablation", "title": "T", "note": "N", "dataset": "jhmdb", "splits": ["1"]}
    return AblationTable.model_validate(content | {"reference": "m", "rows": rows} | changes)


def run(method: str, value: float, samples: Any, **changes: Any) -> Run:
    """A run; on ground-truth boxes it finds 0.2 more."""

    def cell(value: float, boxes: str) -> dict[str, Any]:
        return {"unseen": {"independent": {"mAP": value, "boxes_sha256": boxes}}}

    about = {
        "method": method,
        "title": "unused",
        "order": 1,
        "assumptions": ["independent"],
        "scale": "mini",
        "dataset": "jhmdb",
        "family": "st-clip",
        "benchmark": "b",
        "split": "1",
        "split_sha256": "x",
        "seed": 0,
        "metrics": {"detected": cell(value, "boxes"), "gt": cell(value + 0.2, "gt boxes")},
    }
    return about | changes, pd.DataFrame({COLUMN: np.asarray(samples, float)})


def table(*runs: Run, published: bool = False, **changes: Any) -> pd.DataFrame:
    about, replicates = [r for r, _ in runs], [s for _, s in runs]
    return build_ablation(config(**changes), about, replicates, published=published)


def steps(low: float, high: float) -> np.ndarray:
    """41 replicates in equal steps: percentile p lies p% of the way."""
    return np.linspace(low, high, 41)


def test_one_seed_is_the_bootstrap_over_videos() -> None:
    frame = table(run("m+small", 0.25, steps(0.2, 0.4)), run("m", 0.5, steps(0.5, 0.6)))
    # 2.5% of the way from 0.2 to 0.4 is 0.205, 97.5% of it 0.395. Replicate r of the difference
    # is (0.2 + 0.2 r) - (0.5 + 0.1 r) = -0.3 + 0.1 r: from -0.2975 to -0.2025.
    assert frame.iloc[0].to_dict() == {
        "variant": "small",
        "split 1": "25.00",
        "95% interval": "[20.50, 39.50]",
        "std over seeds": "-",
        "difference": "-25.00",
        "difference 95% interval": "[-29.75, -20.25]",
        "mAP*": "45.00",
        "seeds": "1",
        "scale": "mini",
        "benchmark": "b",
    }
    difference = frame.loc[1, ["difference", "difference 95% interval"]]
    assert difference.to_list() == ["+0.00", "[+0.00, +0.00]"]


def test_seeds_are_drawn_with_replacement_and_paired_by_number() -> None:
    flat = np.ones(1000)  # the same in every replicate: what varies is the seeds
    frame = table(
        run("m+small", 0.2, 0.2 * flat),
        run("m+small", 0.4, 0.4 * flat, seed=1),
        run("m", 0.4, 0.4 * flat, seed=1),  # the order of the runs does not matter
        run("m", 0.1, 0.1 * flat),
    )
    # Two seeds drawn from two: both the first in a quarter of the replicates, both the second in
    # another: from 0.2 to 0.4. Standard deviation of 0.2 and 0.4: 0.1 x sqrt(2).
    small, full = (row for _, row in frame.iterrows())
    columns = ["split 1", "95% interval", "std over seeds", "mAP*", "seeds"]
    assert small[columns].to_list() == ["30.00", "[20.00, 40.00]", "14.14", "50.00", "2"]
    assert full[columns].to_list() == ["25.00", "[10.00, 40.00]", "21.21", "45.00", "2"]
    # Seed 0 differs by 0.1, seed 1 by nothing; were they not paired, the difference would reach
    # from 0.2 - 0.4 to 0.4 - 0.1.
    assert small["difference"] == "+5.00"
    assert small["difference 95% interval"] == "[+0.00, +10.00]"


def test_a_difference_is_over_the_seeds_that_both_rows_have() -> None:
    frame = table(
        run("m+small", 0.2, steps(0.2, 0.4)),
        run("m+small", 0.6, steps(0.6, 0.8), seed=1),
        run("m", 0.5, steps(0.5, 0.7)),
        run("m", 0.9, steps(0.9, 1.0), seed=2),
    )
    columns = ["split 1", "difference", "difference 95% interval", "seeds"]
    # Seed 0 alone: 0.2 - 0.5, the same in every replicate.
    assert frame.loc[0, columns].to_list() == ["40.00", "-30.00", "[-30.00, -30.00]", "2"]
    apart = table(run("m+small", 0.2, steps(0, 1)), run("m", 0.5, steps(0, 1), seed=1))
    assert apart.loc[0, columns].to_list() == ["20.00", "-", "-", "1"]


def test_several_splits_are_averaged() -> None:
    frame = table(
        run("m", 0.3, steps(0.3, 0.5)),
        run("m", 0.5, steps(0.5, 0.9), split="2"),
        run("m+small", 0.4, steps(0, 1)),
        splits=["1", "2"],
    )
    columns = ["split 1", "split 2", "avg", "95% interval", "mAP*", "seeds"]
    # Average of the replicates: 0.4 to 0.7; 0.4 + 0.3 x 0.025 and 0.4 + 0.3 x 0.975.
    expected = ["30.00", "50.00", "40.00", "[40.75, 69.25]", "60.00", "1"]
    assert frame.loc[1, columns].to_list() == expected
    assert frame.loc[0, columns].to_list() == ["40.00", "-", "-", "-", "-", "0"]


def test_missing_runs_leave_gaps() -> None:
    frame = table(run("m", 0.5, steps(0.4, 0.6)))
    assert frame["variant"].to_list() == ["small", "full"]
    missing = frame.loc[0].drop(["variant", "seeds", "scale", "benchmark"])
    assert set(missing) == {"-"}
    assert frame.loc[0, "seeds"] == "0"


def test_published_values_stand_apart_where_the_scale_shows_them() -> None:
    runs = (run("m", 0.5, steps(0.4, 0.6)), run("m+small", 0.5, steps(0.4, 0.6)))
    rows = [{"method": "m+small"}, {"method": "m", "published": 74.5}]
    assert table(*runs, rows=rows, published=True)["published"].to_list() == ["-", "74.50"]
    assert "published" not in table(*runs, rows=rows, published=False)
    assert "published" not in table(*runs, published=True)  # no row has any


def test_runs_without_a_row_are_refused() -> None:
    with pytest.raises(DataError, match=r"method other, split 1, seed 0: the table has no such"):
        table(run("m", 0.5, steps(0, 1)), run("other", 0.5, steps(0, 1)))
    with pytest.raises(DataError, match=r"the table has splits \['1'\], not '2'"):
        table(run("m", 0.5, steps(0, 1), split="2"))


def test_runs_on_other_boxes_are_refused() -> None:
    odd, samples = run("m+small", 0.5, steps(0, 1))
    odd["metrics"]["detected"]["unseen"]["independent"]["boxes_sha256"] = "others"
    with pytest.raises(DataError, match=r"method m\+small, .* scored other detected boxes"):
        table(run("m", 0.5, steps(0, 1)), (odd, samples))


def test_draws_of_seeds_are_uniform_and_do_not_change() -> None:
    assert (draw_seeds(1, 50) == 0).all()
    drawn = draw_seeds(3, 1000)
    assert drawn.shape == (3, 1000)
    assert np.bincount(drawn.ravel()) / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert drawn[:, :4].T.tolist() == [[1, 0, 0], [0, 2, 2], [1, 2, 1], [2, 2, 0]]


def test_caption_and_alignment(tmp_path: Path) -> None:
    write_table(
        table(run("m", 0.5, steps(0, 1))), tmp_path / "t.csv", text_columns=1, caption="A. B."
    )
    assert (tmp_path / "t.md").read_text().startswith("A. B.\n\n| variant")
    latex = (tmp_path / "t.tex").read_text().splitlines()
    assert latex[:2] == ["% A. B.", r"\begin{tabular}{l" + "r" * 9 + "}"]
