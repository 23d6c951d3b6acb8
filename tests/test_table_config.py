"""config/tables/*.yaml: what stands there resolves, what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from stclip.config import load_method
from stclip.config.table import TableRow, load_table
from stclip.errors import ConfigError

CONFIG = ROOT / "config"
TABLES = sorted(p.stem for p in (CONFIG / "tables").glob("*.yaml"))


@pytest.mark.parametrize("scale", ["mini", "paper"])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_resolves_at_both_scales(name: str, scale: str) -> None:
    table = load_table(CONFIG, name, scale=scale)
    rows = [row for row in getattr(table, "rows", []) if isinstance(row, TableRow)]
    assert all(row.title for row in rows)
    full = {row.published for row in rows if row.method == "st_clip"}
    assert full <= {74.55, None}  # Table 2, split 1; a table of our own has none


def test_rows_say_how_many_interest_tokens_ran() -> None:
    """Whatever the scale makes of a variant, its row tells it."""
    for scale, counts in {"mini": [20, 25, 37, 50], "paper": [80, 100, 150, 200]}.items():
        rows = load_table(CONFIG, "table15", scale=scale).rows
        assert [row.title for row in rows] == [f"ST-CLIP, {k} interest tokens" for k in counts]
        for row, k in zip(rows, counts, strict=True):
            config = load_method(CONFIG, row.method, dataset="jhmdb", scale=scale)
            assert config.params["interest_tokens"] == k


def write(folder: Path, **changes: Any) -> Path:
    """A folder like config/ with one table more."""
    for part in ("methods", "datasets", "scales"):
        (folder / part).symlink_to(CONFIG / part)
    content = yaml.safe_load((CONFIG / "tables" / "table8.yaml").read_text()) | changes
    (folder / "tables").mkdir()
    (folder / "tables" / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, r"colour: Extra inputs"),
        ({"dataset": "kth"}, r"dataset: unknown dataset 'kth'"),
        ({"splits": "1"}, r"splits: Input should be a valid list"),
        ({"kind": "figure"}, r"Input tag 'figure' .* does not match any of the expected tags"),
        ({"seeds": [-1]}, r"seeds\.0: Input should be greater than or equal to 0"),
        ({"seeds": []}, r"seeds: List should have at least 1"),
        ({"rows": []}, r"rows have the methods \[\]; each once, and at least one"),
        (
            {"rows": [{"method": "st_clip"}, {"method": "tsn"}]},
            r"rows\.1\.method: unknown method 'tsn'.*known are \[.*'clip_crop', 'clip_frame'",
        ),
        (
            {"rows": [{"method": "st_clip"}, {"method": "st_clip+x"}]},
            r"rows\.1\.method: unknown variant .*'x'; known are",
        ),
        ({"rows": [{"method": "st_clip", "publish": 1}]}, r"rows\..*\.0\.publish: Extra inputs"),
        ({"rows": [{"method": "st_clip", "published": "x"}]}, r"rows\..*\.0\.published: "),
        ({"reference": "clip_frame"}, r"rows have the methods .*; the reference is clip_frame"),
        ({"rows": [{"method": "st_clip"}, {"method": "st_clip"}]}, r"each once"),
    ],
)
def test_mistakes_are_named_with_file_and_key(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"tables/mine\.yaml: .*{message}"):
        load_table(write(tmp_path, **change), "mine", scale="mini")


def test_an_unknown_table_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown table 'table1'.*known are \['mine'\]"):
        load_table(write(tmp_path), "table1", scale="mini")
