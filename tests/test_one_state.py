"""What a workflow of many methods reads grows with the methods, not with their square."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from stclip.config import load_method
from stclip.config.one_state import once_in_a_state, one_state
from stclip.config.resolved import announcement


def test_within_a_state_the_first_result_counts() -> None:
    calls = []

    @once_in_a_state
    def look(name: str, *, twice: bool = False) -> int:
        calls.append(name)
        return len(calls)

    assert [look("a"), look("a")] == [1, 2]
    with one_state():
        assert [look("a"), look("b"), look("a"), look("a", twice=True)] == [3, 4, 3, 5]
        with one_state():
            assert look("a") == 3
        assert look("a") == 3
    assert look("a") == 6


def test_an_error_is_not_kept() -> None:
    answers = iter([ValueError("once"), 7])

    @once_in_a_state
    def look() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with one_state():
        with pytest.raises(ValueError, match="once"):
            look()
        assert look() == 7


def test_every_file_is_read_once_for_all_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale, data set and modules are shared: a method more is a file more."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(ROOT / "splits", tmp_path / "splits")
    folder = tmp_path / "config" / "methods"
    own = yaml.safe_load((folder / "a5.yaml").read_text("utf-8"))
    own["variants"] = {}
    for number in range(10):
        (folder / f"more_{number}.yaml").write_text(yaml.safe_dump(own), "utf-8")
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    read: list[Path] = []
    for name in ("read_text", "read_bytes"):
        inner = getattr(Path, name)

        def noted(self: Path, *args: object, inner=inner) -> object:  # type: ignore[no-untyped-def]
            read.append(self)
            return inner(self, *args)

        monkeypatch.setattr(Path, name, noted)

    def reads(methods: list[str]) -> int:
        read.clear()
        with one_state():
            records = {
                name: load_method(tmp_path / "config", name, dataset="ava", scale="paper")
                for name in methods
            }
            announcement(records, versions={})
        return len(read)

    few = reads(names[:10])
    files = len(list((tmp_path / "config").rglob("*.yaml"))) + len(names)
    # each for itself, every method would read the files of all methods
    assert few < reads(names) < 4 * files
    assert len(read) - few < 5 * (len(names) - 10)
