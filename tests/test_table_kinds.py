"""From settings and files to a table: each kind, and files that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from stclip.costs.measured import Cost, write_costs
from stclip.errors import ConfigError, DataError
from stclip.evaluate.evaluate import write_run
from stclip.tables.kinds import make_table
from stclip.tables.table_files import read_table

CONFIG = ROOT / "config"
MAIN = {
    "kind": "main", "title": "T", "note": "N.", "dataset": "jhmdb", "rows": "all",
    "columns": ["splits", "avg", "base", "seeds", "benchmark"],
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "main": MAIN,
    "ablation": {k: v for k, v in MAIN.items() if k != "columns"}
    | {"kind": "ablation", "reference": "st_clip"}
    | {"rows": [{"method": "st_clip"}, {"method": "clip_frame", "title": "plain"}]},
    "costs": {k: v for k, v in MAIN.items() if k != "columns"} | {"kind": "costs"},
    "detectors": {"kind": "detectors", "title": "T", "note": "N."},
}


def folder_with(folder: Path, **tables: dict[str, Any]) -> Path:
    """A folder like config/ with these tables, label splits beside it."""
    config = folder / "config"
    config.mkdir()
    for part in ("methods", "datasets", "scales"):
        (config / part).symlink_to(CONFIG / part)
    (folder / "splits").symlink_to(ROOT / "splits")
    (config / "tables").mkdir()
    for name, content in tables.items():
        (config / "tables" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return config


def write_metrics(folder: Path, method: str, split: str, value: float) -> Path:
    """A run's folder; base classes reach 0.2 more, every replicate the value."""
    cells = {
        group: {"independent": {"mAP": value + more, "boxes_sha256": "x"}}
        for group, more in (("unseen", 0.0), ("base", 0.2))
    }
    about = {
        "method": method, "title": method.upper(), "order": 1, "assumptions": ["independent"],
        "scale": "mini", "dataset": "jhmdb", "family": "st-clip", "benchmark": "b/st-clip@1",
        "split": split, "split_sha256": split, "seed": 0,
    }  # fmt: skip
    replicates = pd.DataFrame({"detected/unseen/independent": np.full(10, value)})
    write_run(folder, {"detected": cells}, replicates, {}, about)
    return folder / "metrics.json"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr("stclip.evaluate.evaluate.write_report", lambda *_: None)
    return [
        write_metrics(tmp_path / "runs" / method / split, method, split, value)
        for method, value in (("st_clip", 0.5), ("clip_frame", 0.25))
        for split in "1234"
    ]


def test_tables_of_runs_are_made_of_their_files(tmp_path: Path, runs: list[Path]) -> None:
    config, out = folder_with(tmp_path, **KINDS), tmp_path / "results" / "t.csv"
    make_table("main", runs, out, config=config, scale="mini")
    main = read_table(out)
    assert list(main) == [
        *("method", "assumption", "split 1", "split 2", "split 3", "split 4", "avg", "base"),
        *("seeds", "benchmark"),
    ]
    assert main[["method", "avg", "base"]].to_numpy().tolist() == [
        ["CLIP_FRAME", "25.00", "45.00"], ["ST_CLIP", "50.00", "70.00"],
    ]  # fmt: skip
    assert out.with_suffix(".md").read_text().startswith("T (scale mini, ")
    make_table("ablation", runs, out, config=config, scale="mini")
    assert read_table(out)["difference"].tolist() == ["+0.00", "-25.00"]
    with pytest.raises(ConfigError, match="this kind needs one file from `stclip costs`"):
        make_table("costs", runs, out, config=config, scale="mini")
    cost = Cost(
        method="st_clip", title="ST", order=1, video_macs=1, text_macs=1, trained=1, iterations=0,
        step_s=None, score_s=1, frames_per_s=1,
    )  # fmt: skip
    write_costs(tmp_path / "costs.json", [cost], where="here")
    make_table("costs", [*runs, tmp_path / "costs.json"], out, config=config, scale="mini")
    assert read_table(out)[["method", "mAP independent"]].to_numpy().tolist() == [["ST", "50.00"]]
    with pytest.raises(DataError, match="not a quality file"):
        make_table("detectors", runs[:1], out, config=config, scale="mini")


def test_the_paper_s_values_need_a_scale_that_shows_them(tmp_path: Path, runs: list[Path]) -> None:
    """On the boxes that the table names; without starred boxes there are no starred columns."""
    content = MAIN | {"boxes": "gt", "starred": None, "splits": ["1"], "columns": ["splits"]}
    content |= {"published": {"independent": {"st_clip": {"gt": {"1": 79.02, "avg": 85.53}}}}}
    config, out = folder_with(tmp_path, mine=content), tmp_path / "t.csv"
    first = [path for path in runs if path.parent.name == "1"]
    make_table("mine", first, out, config=config, scale="mini")
    assert list(read_table(out)) == ["method", "assumption", "split 1"]
    make_table("mine", first, out, config=config, scale="paper")
    shown = read_table(out).set_index("method")
    assert list(shown)[1:] == ["split 1", "published split 1", "published avg", "published H"]
    assert shown.loc["ST_CLIP"].tolist()[1:] == ["-", "79.02", "85.53", "-"]
    assert shown.loc["CLIP_FRAME"].tolist()[1:] == ["-"] * 4


def test_shares_are_of_a_main_table(tmp_path: Path) -> None:
    """Of the paper's values, which an ablation has none of."""
    share = {"jhmdb": {"table": "ablation", "assumption": "independent", "method": "st_clip"}}
    detectors = KINDS["detectors"] | {"share": share}
    config = folder_with(tmp_path, **(KINDS | {"detectors": detectors}))
    quality = tmp_path / "quality.json"
    quality.write_text(
        '{"scale": "paper", "dataset": "jhmdb", "title": "T", "benchmark": "b", "splits": ["1"],'
        ' "rows": []}'
    )
    with pytest.raises(ConfigError, match="table 'ablation' is of kind ablation, not main"):
        make_table("detectors", [quality], tmp_path / "t.csv", config=config, scale="paper")
