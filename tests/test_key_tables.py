"""The tables of keys in config/README.md: of all keys, each with its meaning, as the models say."""

import re

import yaml
from conftest import ROOT

from stclip.config.key_tables import key_tables

CONFIG = ROOT / "config"
README = (CONFIG / "README.md").read_text()


def test_the_tables_of_keys_are_written_from_the_models() -> None:
    for marker, table in key_tables(CONFIG).items():
        assert f"<!-- {marker}:begin -->\n{table}<!-- {marker}:end -->" in README, (
            f"{marker}: run `stclip keys --into config/README.md`"
        )


def test_every_key_has_a_meaning() -> None:
    lines = "".join(key_tables(CONFIG).values()).splitlines()
    assert [line for line in lines if "|  | " in line.removesuffix("|  |")] == []
    assert len(lines) > 200


def test_the_keys_of_config_yaml_are_explained() -> None:
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    section = (
        (CONFIG / "README.md").read_text().partition("## config.yaml")[2].partition("\n## ")[0]
    )
    explained = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert sorted(explained) == sorted(schema["properties"])
