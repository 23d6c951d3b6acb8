"""config/tables/*.yaml: what stands there resolves, what is wrong is named."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from stclip.config import load_dataset, load_method
from stclip.config.drawn_tables import LatencyTable, PartsTable
from stclip.config.table import (
    AblationTable,
    CostsTable,
    DetectorsTable,
    MainTable,
    TableRow,
    caption_of,
    load_table,
    of_splits,
)
from stclip.errors import ConfigError

CONFIG = ROOT / "config"
TABLES = sorted(p.stem for p in (CONFIG / "tables").glob("*.yaml"))


KINDS = {
    "main": MainTable, "ablation": AblationTable, "costs": CostsTable, "detectors": DetectorsTable,
    "parts": PartsTable, "latency": LatencyTable,
}  # fmt: skip


def test_every_table_resolves_at_both_scales() -> None:
    found = set()
    for name, scale in product(TABLES, ("mini", "paper")):
        table = load_table(CONFIG, name, scale=scale)
        found.add(table.kind)
        assert type(table) is KINDS[table.kind]
        caption = caption_of(CONFIG, table, scale=scale)
        assert caption.startswith(f"{table.title} (scale {scale}")
        if isinstance(table, AblationTable):
            assert table.rows != "all"
            assert all(row.title for row in table.rows)
            full = {row.published for row in table.rows if row.method == "st_clip"}
            assert full <= {74.55, None}  # Table 2, split 1; a table of our own has none
    assert found == set(KINDS)


def test_what_is_left_open_is_that_of_the_data_set() -> None:
    data = load_dataset(CONFIG, "jhmdb", scale="mini")
    table = load_table(CONFIG, "table2", scale="mini")
    assert isinstance(table, MainTable)
    assert (table.family, table.splits) == (data.family, data.splits)
    assert (table.boxes, table.starred) == ("detected", "gt")
    runs = table.runs(["a", "b"], [0, 1])
    assert len(runs) == len(set(runs)) == len(data.splits) * 2 * 2
    assert runs[0] == ("jhmdb", data.family, data.splits[0], "a", 0)
    seeded = load_table(CONFIG, "table11", scale="mini")
    assert isinstance(seeded, AblationTable)
    # its own rows, split and seeds, whatever config.yaml chooses
    assert len(seeded.runs(["a"], [7])) == 5 * 1 * 3


def test_rows_say_how_many_interest_tokens_ran() -> None:
    """Whatever the scale makes of a variant, its row tells it."""
    for scale, counts in {"mini": [20, 25, 37, 50], "paper": [80, 100, 150, 200]}.items():
        table = load_table(CONFIG, "table15", scale=scale)
        assert isinstance(table, AblationTable)
        rows = [row for row in table.rows if isinstance(row, TableRow)]
        assert [row.title for row in rows] == [f"ST-CLIP, {k} interest tokens" for k in counts]
        for row, k in zip(rows, counts, strict=True):
            config = load_method(CONFIG, row.method, dataset="ava", scale=scale)
            assert config.params["interest_tokens"] == k


def test_the_number_of_interest_tokens_is_that_of_ava_with_its_published_values() -> None:
    table = load_table(CONFIG, "table15", scale="paper")
    assert isinstance(table, AblationTable)
    assert (table.dataset, table.splits, table.reference) == ("ava", ["1"], "st_clip+its_100")
    rows = [row for row in table.rows if isinstance(row, TableRow)]
    assert {row.method.partition("_")[2].partition("_")[2]: row.published for row in rows} == {
        "80": 11.77, "100": 12.85, "150": 12.46, "200": 11.46,
    }  # fmt: skip


def test_every_module_of_ava_s_table_adds_one_to_the_row_before() -> None:
    table = load_table(CONFIG, "table4_ava", scale="paper")
    assert isinstance(table, AblationTable)
    methods = [load_method(CONFIG, m, dataset="ava", scale="paper") for m in table.methods([])]
    assert methods[0].target.endswith(":ClipFrame")
    found = [(m.params["prompting"], m.params["interest_tokens"]) for m in methods[1:]]
    assert found == [("none", 0), ("all", 0), ("all", 100)]
    assert {m.backbone.model for m in methods} == {"ViT-L-14-quickgelu"}
    assert all(row.published is None for row in table.rows if isinstance(row, TableRow))


def write(folder: Path, *, table: str = "table8", **changes: Any) -> Path:
    """A folder like config/ with one table more, which replaces the one before it."""
    if not (folder / "splits").exists():
        (folder / "splits").symlink_to(ROOT / "splits")
    folder /= "config"
    folder.mkdir(exist_ok=True)
    for part in ("methods", "datasets", "scales"):
        if not (folder / part).exists():
            (folder / part).symlink_to(CONFIG / part)
    content = yaml.safe_load((CONFIG / "tables" / f"{table}.yaml").read_text()) | changes
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "tables" / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"colour": "red"}, r"colour: Extra inputs .*allowed keys: .*'dataset', .*'note'"),
    ({"dataset": "kth"}, r"dataset: unknown dataset 'kth'"),
    ({"seeds": [-1]}, r"seeds\.0: Input should be greater than or equal to 0"),
    ({"seeds": []}, r"seeds: List should have at least 1"),
    ({"rows": []}, "each once, and at least one"),
    (
        {"rows": [{"method": "st_clip"}, {"method": "tsn"}]},
        r"rows\.1\.method: unknown method 'tsn'.*known are \[.*'clip_crop', 'clip_frame'",
    ),
    (
        {"rows": [{"method": "st_clip"}, {"method": "st_clip+x"}]},
        r"rows\.1\.method: unknown variant .*'x'; known are",
    ),
    ({"rows": [{"method": "st_clip", "publish": 1}]}, r"rows\S*\.0\.publish: Extra inputs"),
    ({"rows": [{"method": "st_clip", "published": "x"}]}, r"rows\S*\.0\.published: "),
    ({"reference": "clip_frame"}, r"the reference is clip_frame"),
    ({"rows": [{"method": "st_clip"}, {"method": "st_clip"}]}, r"each once"),
    ({"seeds": ["4-0"]}, r"seeds: .*'4-0': a range goes up"),
    ({"seeds": ["0-2", 1]}, r"seeds: .*\['1'\] are given twice"),
    ({"seeds": "0:4"}, r"seeds\.0: Input should be a valid integer"),
    ({"splits": ["1", "1"]}, r"splits: .*\['1'\] are given twice"),
]


def test_mistakes_are_named_with_file_and_key(tmp_path: Path) -> None:
    for change, message in MISTAKES:
        folder = write(tmp_path, **change)
        with pytest.raises(ConfigError, match=rf"tables/mine\.yaml: .*{message}"):
            load_table(folder, "mine", scale="mini")


def test_mistakes_of_a_main_table_are_named(tmp_path: Path) -> None:
    for change, message in [
        ({"columns": ["avg", "intervall"]}, r"columns\.1: .*'intervall'.*nearest is 'interval'"),
        ({"columns": []}, "columns"),
        ({"assumptions": ["vote"]}, r"assumptions\.0"),
        ({"boxes": "found"}, r"unknown box source of jhmdb 'found'; known are"),
        ({"starred": "stars"}, r"unknown box source of jhmdb 'stars'"),
        ({"published": {"vote": {}}}, r"published\.vote"),
        ({"published": {"voted": {"m": {"dets": {"1": 1}}}}}, r"unknown box source .*'dets'"),
        ({"published": {"voted": {"m": {"gt": {"1": "x"}}}}}, r"published\.voted\.m\.gt\.1"),
        (
            {"published": {"voted": {"iclpi": {}}}},
            r"unknown method of published: 'iclpi'.*nearest is 'iclip'",
        ),
        ({"published": {"voted": {"a5+long": {}}}}, r"variant of a5 'long'.*nearest is 'longer'"),
        (
            {"published": {"voted": {"iclip": {"gt": {"AVG": 1.0}}}}},
            r"unknown column of published: 'AVG'; .*nearest is 'avg'",
        ),
        ({"family": "st-clp"}, r"unknown family .* jhmdb 'st-clp'.*nearest is 'st-clip'"),
        ({"columns": ["avg", "avg"]}, r"columns: .*\['avg'\] are given twice"),
        ({"columns": ["avg*"], "starred": None}, r"columns \['avg\*'\] need `starred`"),
    ]:
        folder = write(tmp_path, table="table2", **change)
        with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{message}"):
            load_table(folder, "mine", scale="mini")


def test_mistakes_of_other_tables_are_named(tmp_path: Path) -> None:
    share = {"table": "table2", "assumption": "independent", "method": "st_clip"}
    for table, change, message in [
        ("table10", {"published": {"iclip": {"trained": 1}}}, r"nearest is 'trained_m'"),
        (
            "table10",
            {"published": {"iclpi": {"trained_m": 1}}},
            r"unknown method of published: 'iclpi'",
        ),
        ("table12", {"dataset": "avq"}, r"dataset: unknown dataset 'avq'"),
        ("table12", {"persons": 0}, r"persons: "),
        ("table13", {"rows": ["st_clp"]}, r"rows\.0: unknown method 'st_clp'.*'st_clip'"),
        ("table13", {"rows": ["st_clip", "st_clip"]}, r"rows: .*given twice"),
        ("detectors", {"share": {"jhmbd": share}}, r"unknown dataset 'jhmbd'.*nearest is 'jhmdb'"),
        (
            "detectors",
            {"share": {"jhmdb": share | {"table": "table5"}}},
            r"share\.jhmdb: unknown table 'table5': .*known are \['mine'\]",
        ),
        ("detectors", {"share": {"jhmdb": share | {"assumption": "vote"}}}, "share"),
    ]:
        folder = write(tmp_path, table=table, **change)
        with pytest.raises(ConfigError, match=rf"(?s)mine\.yaml: .*{message}"):
            load_table(folder, "mine", scale="mini")


def test_the_share_of_a_method_without_published_values_is_refused(tmp_path: Path) -> None:
    write(tmp_path, table="table2")
    share = {"table": "mine", "assumption": "independent", "method": "st_clp"}
    other = yaml.safe_load((CONFIG / "tables" / "detectors.yaml").read_text())
    path = tmp_path / "config" / "tables" / "other.yaml"
    path.write_text(yaml.safe_dump(other | {"share": {"jhmdb": share}}))
    with pytest.raises(ConfigError, match=r"other\.yaml: share\.jhmdb: .*'st_clp'.*is 'st_clip'"):
        load_table(tmp_path / "config", "other", scale="mini")


def test_seeds_may_be_ranges(tmp_path: Path) -> None:
    for seeds, numbers in [("0-4", [0, 1, 2, 3, 4]), ([7, "0-1"], [7, 0, 1]), (3, [3])]:
        table = load_table(write(tmp_path, seeds=seeds), "mine", scale="mini")
        assert isinstance(table, AblationTable)
        assert table.seeds == numbers


def test_a_table_of_chosen_splits_keeps_its_order_and_leaves_out_the_others() -> None:
    whole = load_table(CONFIG, "table2", scale="mini")
    table = of_splits(whole, ["3", "1"], where="table2")
    assert isinstance(table, MainTable)
    assert table.splits == ["1", "3"]
    # Published means are over all splits, so that nothing stands beside ours.
    assert table.published["voted"]["a5"]["gt"] == {
        "1": 54.81, "2": 74.36, "3": 78.20, "4": 62.19,
    }  # fmt: skip
    assert of_splits(whole, ["4", "3", "2", "1"], where="table2") == whole
    other = load_table(CONFIG, "table11", scale="mini")
    with pytest.raises(ConfigError, match=r"table11: none of its splits \['1'\] .*\['2'\]"):
        of_splits(other, ["2"], where="table11")


def test_a_table_may_share_the_published_values_of_another(tmp_path: Path) -> None:
    of_boxes, on_truth = (load_table(CONFIG, name, scale="paper") for name in ("table3", "table18"))
    assert isinstance(of_boxes, MainTable)
    assert isinstance(on_truth, MainTable)
    assert on_truth.published == of_boxes.published
    assert on_truth.published["voted"]["vitaclip"]["gt"]["avg"] == 96.57
    own = {"voted": {"a5": {"gt": {"1": 1.0}}}}
    for change, message in (
        ({"published": own, "published_of": "table2"}, "give the one or the other"),
        ({"published": {}, "published_of": "table22"}, r"published_of: unknown table 'table22'"),
        ({"published": {}, "published_of": "other"}, r"'other' has no published values of jhmdb"),
    ):
        folder = write(tmp_path, table="table2", **change)
        other = {"kind": "ablation", "title": "t", "note": "n", "dataset": "jhmdb"}
        other |= {"reference": "st_clip", "rows": [{"method": "st_clip"}]}
        (folder / "tables" / "other.yaml").write_text(yaml.safe_dump(other))
        with pytest.raises(ConfigError, match=message):
            load_table(folder, "mine", scale="mini")


def test_an_unknown_kind_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown kind of .*mine\.yaml 'matrix'.*'ablation'"):
        load_table(write(tmp_path, kind="matrix"), "mine", scale="mini")


def test_an_unknown_table_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown table 'table1'.*known are \['mine'\]"):
        load_table(write(tmp_path), "table1", scale="mini")
