import hashlib
import subprocess
from pathlib import Path

import pytest

from stclip.config import Download
from stclip.download.first_download import check_recorded, is_as_published
from stclip.errors import DataError

PAGE = Download(url="manual:https://example.org/page")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"as it first came")
    return file


def test_the_first_download_is_recorded_as_sha256sum_writes_it(file: Path, tmp_path: Path) -> None:
    record = tmp_path / "records" / "weights.sha256"
    check_recorded(PAGE, file, record)
    assert record.read_text() == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
    subprocess.run(["sha256sum", "--check", str(record)], cwd=tmp_path, check=True)


def test_another_file_than_the_first_is_refused_and_the_record_stays(
    file: Path, tmp_path: Path
) -> None:
    record = tmp_path / "weights.sha256"
    check_recorded(PAGE, file, record)
    before = record.read_text()
    check_recorded(PAGE, file, record)
    file.write_bytes(b"as it came the second time")
    with pytest.raises(
        DataError, match=r"weights\.safetensors: its sha256 is .* delete the record"
    ):
        check_recorded(PAGE, file, record)
    assert record.read_text() == before


@pytest.mark.parametrize("partly", [{"md5": "0" * 32}, {"sha256_prefix": "dd69338a"}, {}])
def test_sources_without_a_sha256_are_recorded(
    file: Path, tmp_path: Path, partly: dict[str, str]
) -> None:
    url = "https://example.org/weights" if partly else PAGE.url
    check_recorded(Download(url=url, **partly), file, tmp_path / "record")
    assert (tmp_path / "record").exists()


@pytest.mark.parametrize("whole", [{"sha256": "0" * 64}, {"checksums": "file:SHA256SUMS"}])
def test_sources_with_a_sha256_need_no_record(
    file: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    check_recorded(Download(url="https://example.org/weights", **whole), file, tmp_path / "record")
    assert not (tmp_path / "record").exists()


def test_a_damaged_record_is_named(file: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.write_text("something else\n")
    with pytest.raises(DataError, match=r"record: expected a line .*version control"):
        check_recorded(PAGE, file, record)


def test_a_download_that_somebody_replaced_is_not_what_was_published(tmp_path: Path) -> None:
    """Then it counts by its content, as any file that people bring."""
    record, first, other = tmp_path / "weights.sha256", "ab" * 32, "cd" * 32
    for source in (
        Download(url="https://example.org/w", sha256=first),
        Download(url="https://example.org/w", sha256_prefix=first[:8]),
    ):
        assert is_as_published(source, first, record)
        assert not is_as_published(source, other, record)
    by_md5 = Download(url="https://example.org/w", md5="0" * 32)
    assert not is_as_published(by_md5, first, record)  # nobody says yet
    record.write_text(f"{first}  weights\n")
    assert is_as_published(by_md5, first, record)
    assert not is_as_published(by_md5, other, record)
    assert not is_as_published(PAGE, first, tmp_path / "none")
