"""The first ten losses of every method that trains, as they were when they were recorded.

Whoever moves code proves with them that nothing else moved. Whoever changes a number on purpose
raises the `stage_version` of the stage, writes the reason into the changelog under "Numbers" and
records them anew: `python tests/losses/record.py losses`, which wants the version raised.
"""

import json
from pathlib import Path

import pytest
from conftest import METHODS, World
from pinned import LOSSES
from ten_steps import RELATIVE, TRAINED, ten_losses

recorded = json.loads(LOSSES.read_text("utf-8"))


def test_every_method_that_trains_is_recorded() -> None:
    assert set(recorded) == set(TRAINED)
    assert set(TRAINED) <= set(METHODS)


@pytest.mark.parametrize("name", TRAINED)
def test_ten_steps_have_the_recorded_losses(world: World, tmp_path: Path, name: str) -> None:
    found = ten_losses(world, name, tmp_path / "run")
    assert found == pytest.approx(recorded[name], rel=RELATIVE), (
        "the code of trainings moves numbers: raise stage_version.train and record them anew "
        "(python tests/losses/record.py losses), or restore them"
    )
