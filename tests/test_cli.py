import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

COMMAND = [str(Path(sys.executable).with_name("stclip"))]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_mistake_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "prepare.log"
    done = run(
        "--log", str(log), "prepare", "--dataset", "kth", "--scale", "mini",
        "--raw", str(tmp_path), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "unknown dataset 'kth'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "unknown dataset 'kth'" in log.read_text()
    assert not (tmp_path / "out").exists()


def test_missing_archives_are_named(tmp_path: Path) -> None:
    done = run(
        "prepare", "--dataset", "jhmdb", "--scale", "mini",
        "--raw", str(tmp_path), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "stage",
    ["download", "prepare", "splits", "detect", "train", "score", "evaluate", "tables"],
)
def test_every_stage_has_its_word(stage: str) -> None:
    assert stage in run("--help").stdout
    assert (ROOT / "workflow" / "rules" / f"{stage}.smk").exists()


def test_light_commands_do_not_import_torch() -> None:
    code = (
        "import sys; import stclip.cli, stclip.config, stclip.records, stclip.tables, "
        "stclip.evaluate.run, stclip.evaluate.outside, stclip.prepare.jhmdb, stclip.download; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
