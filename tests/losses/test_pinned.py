"""Numbers are recorded together with the versions of the stages that make them."""

import json
from pathlib import Path

import pytest
from pinned import RECORDED, STAGES, record, versions_now


@pytest.mark.parametrize("name", sorted(STAGES))
def test_recorded_numbers_are_those_of_the_stage_versions_of_now(name: str) -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))[name]["versions"]
    assert recorded == versions_now(name), (
        f"stage_version changed since {name} was recorded: record it anew, "
        f"python tests/losses/record.py {name.removesuffix('.json')}"
    )


def write(folder: Path, loss: float, *, version: int, code: str = "") -> float:
    """Record a loss of method `m`; the one that is recorded then."""
    record(
        folder / "losses.json", {"m": loss}, versions={"train": version},
        same=lambda old, new: old == new, recorded=folder / "versions.json", code=lambda _: code,
    )  # fmt: skip
    return json.loads((folder / "losses.json").read_text())["m"]


def test_numbers_that_moved_need_another_version_or_other_code(tmp_path: Path) -> None:
    (tmp_path / "losses.json").write_text("{}")
    (tmp_path / "versions.json").write_text("{}")
    assert write(tmp_path, 1.0, version=4) == 1.0
    assert write(tmp_path, 1.0, version=4) == 1.0
    with pytest.raises(SystemExit, match=r"'m'.* moved, but the versions are still"):
        write(tmp_path, 2.0, version=4)
    assert json.loads((tmp_path / "losses.json").read_text()) == {"m": 1.0}
    assert write(tmp_path, 2.0, version=5) == 2.0
    with pytest.raises(SystemExit):
        write(tmp_path, 3.0, version=5)
    assert write(tmp_path, 3.0, version=5, code="edited") == 3.0
