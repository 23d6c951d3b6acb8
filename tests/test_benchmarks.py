"""The benchmarks still fit the package: they import, and say what they take."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PROGRAMS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_benchmark_can_be_started(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_run_s_metrics_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its data are drawn, so that it can run here, small."""
    path = ROOT / "benchmarks" / "evaluate_run.py"
    options = ["--clips", "4", "--frames", "20", "--boxes", "2", "--labels", "2"]
    monkeypatch.setattr(sys, "argv", [str(path), *options])
    runpy.run_path(str(path), run_name="__main__")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["labels"] == 2
    assert run["mAP"] > 0
    assert set(run["video_mAP"]) == {"0.2", "0.5", "0.75", "0.5:0.95"}
