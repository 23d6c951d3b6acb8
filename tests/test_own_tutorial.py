"""The commands of docs/own-data.md do what it says, in a project's folder."""

import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from forks import of_forks
from small_project import copy_project

DOCUMENT = (ROOT / "docs" / "own-data.md").read_text("utf-8")


def commands() -> list[list[str]]:
    """Those that the document says are run: in blocks of `sh`."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What each command printed, by its first words."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    printed = {}
    for command in commands():
        done = subprocess.run(
            command, cwd=project, env=of_forks(project), capture_output=True, text=True,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
        printed[" ".join(command[:3])] = done.stdout
    return project, printed


def test_the_tutorial_ends_with_a_table_of_every_method(
    outputs: tuple[Path, dict[str, str]],
) -> None:
    project, printed = outputs
    assert [*printed] == [
        "stclip mini videos", "stclip data init", "stclip data import",
        "stclip preloaded snakemake", "stclip data verify",
    ]  # fmt: skip
    table = pd.read_csv(project / "results" / "mydata.csv", dtype=str)
    assert set(table["method"]) == {"CLIP (baseline)", "CLIP (frame + crop)"}
    assert set(table["benchmark"]) == {"mydata/own@1"}
    values = table[["split 1", "avg", "base", "H"]].astype(float)
    assert values.to_numpy().min() > 30  # two unseen labels, boxes as annotated
    assert not list(project.glob("data/mini/models/*"))  # no detector was trained
    assert (project / "results" / "mini" / "mydata.md").is_file()


def test_the_report_is_the_one_that_the_document_shows(
    outputs: tuple[Path, dict[str, str]],
) -> None:
    project, printed = outputs
    (shown,) = re.findall(
        r"<!-- report:begin -->\n```\n(.*?)```\n<!-- report:end -->", DOCUMENT, re.S
    )
    assert printed["stclip data import"].startswith(shown)
    assert (project / "data" / "own" / "mydata" / "import.txt").read_text().startswith(shown)
    assert "All tables are as they were imported." in printed["stclip data verify"]


def test_every_option_of_the_document_is_there() -> None:
    of_commands = (ROOT / "stclip" / "cli" / "own_data.py").read_text()
    named = set(re.findall(r"`--([a-z-]+)", DOCUMENT))
    assert named
    for name in named:
        assert name.replace("-", "_") in of_commands or f'"--{name}"' in of_commands, name
