import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stclip.errors import DataError
from stclip.tables.summary import summarize, write_summary


def run(split: str, unseen: float, base: float, **changes: Any) -> dict[str, Any]:
    def cells(value: float, ap: dict[str, float | None]) -> dict[str, Any]:
        return {a: {"mAP": value, "AP": ap} for a in ("independent", "voted")}

    ap: dict[str, float | None] = {"run": unseen, "swim": None}
    groups = {"unseen": cells(unseen, ap), "base": cells(base, {"walk": base})}
    about = {"dataset": "jhmdb", "method": "m", "title": "M", "order": 1, "split": split, "seed": 0}
    return (
        about | {"assumptions": ["voted", "independent"], "metrics": {"detected": groups}} | changes
    )


def test_means_over_splits_and_their_harmonic_mean() -> None:
    values, maps, by_class = summarize([run("1", 0.2, 0.5), run("2", 0.4, 0.7)])
    # unseen (.2 + .4) / 2 = .3, base .6, H = 2 * .3 * .6 / .9 = .4
    assert values == {
        "m": {a: {"unseen": 0.3, "base": 0.6, "H": 0.4} for a in ("independent", "voted")}
    }
    assert maps["method"].tolist() == ["M", "M, voted"]
    assert maps[["unseen", "base", "H"]].to_numpy().round(6).tolist() == [[30.0, 60.0, 40.0]] * 2
    rows = by_class[by_class["method"] == "M, voted"].drop(columns=["dataset", "method"])
    assert rows.round(6).to_numpy().tolist() == [["unseen", "run", 30.0], ["base", "walk", 60.0]]


def test_files_for_dvc_are_json_and_csv(tmp_path: Path) -> None:
    plots = (tmp_path / "map.csv", tmp_path / "ap_by_class.csv")
    write_summary([run("1", 0.2, 0.5)], tmp_path / "metrics", plots=plots)
    values = json.loads((tmp_path / "metrics" / "m.json").read_text())
    assert values["voted"]["unseen"] == 0.2
    assert pd.read_csv(plots[0])["unseen"].tolist() == [20.0, 20.0]
    assert set(pd.read_csv(plots[1])["class"]) == {"run", "walk"}


def test_the_first_boxes_that_were_scored_are_shown() -> None:
    only_truth = run("1", 0.2, 0.5)
    only_truth["metrics"] = {"gt": only_truth["metrics"]["detected"]}
    values, _, _ = summarize([only_truth])
    assert values["m"]["voted"]["unseen"] == 0.2


def test_a_run_without_metrics_is_named() -> None:
    with pytest.raises(DataError, match="method m, split 1, seed 0: no metrics on gt boxes"):
        summarize([run("1", 0.2, 0.5, metrics={"gt": {}})])


def test_a_summary_is_of_one_data_set() -> None:
    with pytest.raises(DataError, match=r"\['jhmdb', 'other'\] cannot share a summary"):
        summarize([run("1", 0.2, 0.5), run("1", 0.2, 0.5, dataset="other")])
