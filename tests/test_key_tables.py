"""The tables of keys in config/README.md: of all keys, each with its meaning, as the models say."""

import re
from pathlib import Path

import yaml
from conftest import ROOT
from typer.testing import CliRunner

from stclip.cli import app
from stclip.config.key_tables import key_tables

CONFIG = ROOT / "config"
README = (CONFIG / "README.md").read_text()


def test_the_tables_of_keys_are_written_from_the_models() -> None:
    for marker, table in key_tables(CONFIG).items():
        assert f"<!-- {marker}:begin -->\n{table}<!-- {marker}:end -->" in README, (
            f"{marker}: run `stclip keys --into config/README.md`"
        )


def test_the_command_writes_them(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(re.sub(r"(?s)(:begin -->\n).*?(<!-- keys)", r"\1\2", README))
    assert "| `train.lr` |" not in document.read_text()
    done = CliRunner().invoke(app, ["keys", "--into", str(document), "--config", str(CONFIG)])
    assert done.exit_code == 0, done.output
    assert document.read_text() == README


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
