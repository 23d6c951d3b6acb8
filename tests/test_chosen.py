"""config.yaml and --config: names, lists and seeds in them."""

from typing import Any

import pytest
from conftest import ROOT

from stclip.config import check_chosen, only_splits, read_yaml
from stclip.config.seeds import expand_seeds
from stclip.errors import ConfigError

SCHEMA = read_yaml(ROOT / "workflow" / "schemas" / "config.schema.yaml")
OWN = read_yaml(ROOT / "config" / "config.yaml")


def test_the_project_s_own_settings_are_fine_and_have_every_key() -> None:
    assert check_chosen(OWN, SCHEMA["properties"]) == OWN
    assert set(OWN) == set(SCHEMA["properties"])
    stages = SCHEMA["properties"]["stage_version"]
    assert set(OWN["stage_version"]) == set(stages["properties"]) == set(stages["required"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sede": [1]}, r"unknown key .* 'sede'; .*nearest is 'seeds'"),
        ({"stage_version": {"trian": 1}}, r"unknown stage .* 'trian'; .*nearest is 'train'"),
        ({"methods": ["a", "b", "a"]}, r"methods .*\['a'\] are given twice"),
        ({"seeds": ["0-2", 2]}, r"seeds .*\['2'\] are given twice"),
        ({"seeds": "3-1"}, r"a range goes up"),
        ({"seeds": "0-99999999999"}, r"to at most 10000 seeds"),
        ({"methods": "st_clip"}, r"is 'st_clip'; needed is 'all' or a list: 'methods=\[st_clip\]'"),
        ({"datasets": "jhmdb"}, r"datasets .* is 'jhmdb'; needed is a list: 'datasets=\[jhmdb\]'"),
        ({"splits": 1}, r"splits .* is 1; needed is 'all' or a list: 'splits=\[1\]'"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_chosen(OWN | given, SCHEMA["properties"])


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        (["0"], [0]),  # text, as from the command line
        ("0-4", [0, 1, 2, 3, 4]),
        (["7", "0-1"], [7, 0, 1]),
        ([3], [3]),
        (5, [5]),
        ("1-1", [1]),
        (["x"], ["x"]),  # no seed; the schema says so
        ([-1], [-1]),
    ],
)
def test_seeds_are_numbers_or_ranges(given: Any, seeds: list[Any]) -> None:
    assert expand_seeds(given) == seeds


def test_only_the_chosen_splits_are_left_in_their_own_order() -> None:
    assert only_splits(["1", "2", "3"], [], where="t") == ["1", "2", "3"]
    assert only_splits(["1", "2", "3"], ["3", "9", "1"], where="t") == ["1", "3"]
    with pytest.raises(ConfigError, match=r"t: none of its splits \['1'\] .* chosen \['9'\]"):
        only_splits(["1"], ["9"], where="t")
