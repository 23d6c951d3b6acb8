"""Files that people bring count by their content, and are not read twice."""

import json
import os
import shutil
from pathlib import Path

import pytest

from stclip.storage import digests
from stclip.storage.digests import content_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "_SETTLED_S", -1.0)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    true = digests.digest

    def spy(path: Path) -> str:
        read.append(path)
        return true(path)

    monkeypatch.setattr(digests, "digest", spy)
    return read


def test_a_file_is_read_once_by_all_processes(
    project: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("weights.bin")
    file.write_bytes(b"a")
    first = content_of(file)
    monkeypatch.setattr(digests, "_known", {})  # another process
    assert content_of(file) == first
    assert reads == [file]


def test_an_older_file_in_its_place_counts_and_a_copy_does_not(
    project: Path, reads: list[Path]
) -> None:
    old, file = Path("old.bin"), Path("weights.bin")
    old.write_bytes(b"a")
    os.utime(old, (10**9, 10**9))
    file.write_bytes(b"b")
    first = content_of(file)
    shutil.copy2(file, "kept.bin")
    shutil.copy2(old, file)  # keeps its time: older than before, and as long
    assert content_of(file) != first
    shutil.copy("kept.bin", file)  # a new time
    assert content_of(file) == first


def test_a_change_that_keeps_size_and_time_counts(project: Path) -> None:
    file = Path("weights.bin")
    file.write_bytes(b"a")
    stat = file.stat()
    first = content_of(file)
    file.write_bytes(b"b")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_of(file) != first


def test_what_changed_just_now_is_not_remembered(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_SETTLED_S", 60.0)
    Path("weights.bin").write_bytes(b"a")
    content_of(Path("weights.bin"))
    assert not digests.CACHE.exists()


def test_a_damaged_cache_is_forgotten(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("weights.bin")
    file.write_bytes(b"a")
    first = content_of(file)
    for damaged in ("", "[]", '{"a": 1}', json.dumps({str(file.absolute()): [1, "x"]})):
        digests.CACHE.write_text(damaged)
        monkeypatch.setattr(digests, "_known", {})
        assert content_of(file) == first


@pytest.mark.parametrize("large", [False, True])
def test_a_folder_counts_by_all_its_files(
    project: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(digests, "LARGE", 1)
    folder = Path("copy")
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (folder / name).write_text(name)
    first = content_of(folder)
    (folder / ".DS_Store").write_text("hidden")
    assert content_of(folder) == first
    (folder / "sub/b.txt").write_text("sub/c.txt")  # as long
    os.utime(folder / "sub/b.txt", (10**9, 10**9))  # and older
    edited = content_of(folder)
    assert edited != first
    (folder / "sub/b.txt").rename(folder / "b.txt")
    assert content_of(folder) not in {first, edited}


def test_a_missing_file_is_an_error(project: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content_of(Path("gone"))
