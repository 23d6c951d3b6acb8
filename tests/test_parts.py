"""Table 12: the paper's numbers to its digits, what runs beside them, cells."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_cli import run as command

from stclip.config import load_method
from stclip.config.drawn_tables import PartsTable
from stclip.config.table import load_table
from stclip.costs.measured import PartCost, read_costs
from stclip.costs.parts import count_key_frame, count_parts, released_part
from stclip.errors import ConfigError, DataError
from stclip.methods.layers.multiply_adds import tower_of
from stclip.methods.st_clip.cost import trained_parameters
from stclip.tables.kinds import make_table
from stclip.tables.parts_table import build_parts
from stclip.tables.table_files import read_table

CONFIG = ROOT / "config"
TO_MINI = ("--scale", "mini", "--out")
COST = PartCost(
    part="a", released_macs=583_040_000_000, released_trained=22_970_000, macs=10**9, trained=10**6
)


def parts_table(*rows: dict[str, Any], **changes: Any) -> PartsTable:
    content = {"kind": "parts", "title": "t", "note": "n", "dataset": "ava", "persons": 3}
    return PartsTable.model_validate(content | {"labels": 62, "rows": list(rows)} | changes)


def test_table_12_is_the_paper_s_to_its_digits() -> None:
    """Every published value, from the settings of scale paper."""
    table = load_table(CONFIG, "table12", scale="paper")
    assert isinstance(table, PartsTable)
    compared = 0
    for row in table.rows:
        method = load_method(CONFIG, row.method, dataset=table.dataset, scale="paper")
        macs, trained = released_part(method, row.part, persons=table.persons, labels=table.labels)
        found = {"multiply_adds_g": macs / 1e9, "trained_m": trained / 1e6}
        for what, value in row.published.items():
            digits = len(f"{value:g}".partition(".")[2])
            assert round(found[what], digits) == value, (row.part, what)
            compared += 1
    assert compared == 5


def test_the_released_parameters_of_zs_jhmdb() -> None:
    parts = trained_parameters(tower_of("ViT-B-16"))
    assert sum(parts.values()) == 55_109_376  # the paper's 55.11 M


def test_more_interest_tokens_than_there_are_mean_all() -> None:
    """At mini there are 1 + 3 + 48."""
    settings = load_method(CONFIG, "st_clip", dataset="ava", scale="mini")

    def macs(k: int) -> int:
        own = settings.model_copy(update={"params": settings.params | {"interest_tokens": k}})
        return released_part(own, "interest tokens", persons=3, labels=62)[0]

    assert macs(51) < macs(52) == macs(53) == macs(1000)


def test_what_runs_is_counted_part_by_part() -> None:
    """The tiny CLIP's: the parts add up to the whole, and each is cheaper than as released."""
    table = load_table(CONFIG, "table12", scale="mini")
    assert isinstance(table, PartsTable)
    methods = {
        row.method: load_method(CONFIG, row.method, dataset="ava", scale="mini")
        for row in table.rows
    }
    interaction, prompting, tokens = count_parts(table, methods)
    whole = count_key_frame(methods["st_clip"], persons=3, labels=62)
    parts = (interaction, prompting, tokens)
    assert whole == (sum(p.macs for p in parts), sum(p.trained for p in parts))
    d = 128
    idle = 8 * d * d + 7 * d  # the MLP and the norm that are not built
    assert interaction.trained == interaction.released_trained - idle
    assert (prompting.trained, tokens.trained) == (prompting.released_trained, 0)
    # A whole frame, once instead of three times, is more than half of what is saved.
    assert 0.4 < interaction.macs / interaction.released_macs < 0.7
    assert 0 < prompting.macs <= prompting.released_macs
    assert 0 < tokens.macs < tokens.released_macs
    more = count_key_frame(methods["st_clip"], persons=4, labels=62)
    assert more[0] > whole[0]


def test_a_method_that_says_no_parts_and_an_unknown_part_are_refused() -> None:
    plain = load_method(CONFIG, "clip_frame", dataset="ava", scale="mini")
    with pytest.raises(ConfigError, match="'clip_frame' does not say what its parts cost"):
        released_part(plain, "context prompting", persons=1, labels=2)
    method = load_method(CONFIG, "st_clip", dataset="ava", scale="mini")
    with pytest.raises(ConfigError, match=r"part of st_clip 'prompting'; known are \[.*'context"):
        released_part(method, "prompting", persons=1, labels=2)


def test_cells_are_what_was_counted() -> None:
    rows = [{"part": "a", "method": "m", "published": {"multiply_adds_g": 583.04}}]
    table = parts_table(*rows, {"part": "b", "method": "m+x"})
    saves = dataclasses.replace(COST, part="b", macs=-(10**8), trained=0)
    frame = build_parts([COST, saves], config=table, scale="paper", published=True)
    first, second, both = frame.to_dict("records")
    assert first["released G multiply-adds"] == first["published G multiply-adds"] == "583.04"
    assert (first["released trained M"], first["published trained M"]) == ("22.97", "-")
    assert (second["G multiply-adds"], second["published G multiply-adds"]) == ("-0.10", "-")
    assert (both["part"], both["G multiply-adds"], both["trained M"]) == ("all", "0.90", "1.00")
    assert {(row["persons"], row["labels"], row["scale"]) for row in (first, second, both)} == {
        ("3", "62", "paper")
    }
    ours = build_parts([COST, saves], config=table, scale="mini", published=False)
    assert not any("published" in column for column in ours)
    with pytest.raises(DataError, match=r"parts \['a'\], the table has \['a', 'b'\]"):
        build_parts([COST], config=table, scale="mini", published=False)


def test_a_part_stands_in_a_table_once() -> None:
    row = {"part": "a", "method": "m"}
    with pytest.raises(ValueError, match="each once"):
        parts_table(row, row)


def test_from_the_command_line_to_the_table(tmp_path: Path) -> None:
    done = command(
        "parts", "--table", "table12", "--scale", "mini", "--out", str(tmp_path / "t.json")
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "t.csv"
    make_table("table12", [tmp_path / "t.json"], out, config=CONFIG, scale="mini")
    assert read_table(out)["part"].tolist() == [
        "person-context interaction", "context prompting", "interest tokens", "all",
    ]  # fmt: skip
    done = command(
        "parts", "--table", "table13", "--scale", "mini", "--out", str(tmp_path / "t.json")
    )
    assert "'table13' is of kind latency; this command makes another" in done.stderr
    (tmp_path / "t.json").write_text('{"on": "here", "costs": [{"colour": "red"}]}')
    with pytest.raises(DataError, match=r"t\.json: .*measure again"):
        read_costs(tmp_path / "t.json", PartCost)
