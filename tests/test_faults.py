"""The short version of `make faults`: every kind of fault once, on a cut-down miniature."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from small_project import copy_of_finished


def test_every_fault_ends_in_the_same_table_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    finished = copy_of_finished(tmp_path_factory, "faults")
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--short", str(finished), "--seed", "0"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for fault in ("changed bytes", "two at once", "full disk", "cut download", "kills"):
        assert f"{fault}: yes" in done.stdout
