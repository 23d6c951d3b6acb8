"""Archives that lie: members outside the folder, links, cut-off and changed bytes."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stclip.archives import iterate_members
from stclip.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)


def make_tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path


def make_zip(path: Path, files: dict[str, bytes], *extra: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info in extra:
            archive.writestr(info, "/etc/passwd")
    return path


MAKERS = [(make_tar, "a.tar.gz"), (make_zip, "a.zip")]
Maker = Callable[..., Path]


def entry(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_members_come_in_order(make: Maker, name: str, tmp_path: Path) -> None:
    files = {"b/2.txt": b"two", "a/1 (!) @+.txt": b"", "c.bin": CONTENT}
    assert list(iterate_members(make(tmp_path / name, files))) == list(files.items())


def test_folders_are_skipped(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar.gz", {"a/1": b"1"}, entry("b", tarfile.DIRTYPE))
    archive = make_zip(tmp_path / "a.zip", {"b/": b"", "a/1": b"1"})
    assert list(iterate_members(tar)) == list(iterate_members(archive)) == [("a/1", b"1")]


@pytest.mark.parametrize(("make", "name"), MAKERS)
@pytest.mark.parametrize(
    "member", ["../out.txt", "/etc/x", "a/../../x", "..\\x", "C:\\x", "a\\..\\x"]
)
def test_a_member_outside_the_folder_is_refused(
    make: Maker, name: str, member: str, tmp_path: Path
) -> None:
    archive = make(tmp_path / name, {"good.txt": b"x", member: b"evil"})
    with pytest.raises(DataError, match=r"a\.(zip|tar\.gz): member .* outside the folder"):
        list(iterate_members(archive))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {}, entry("evil", kind))
    with pytest.raises(DataError, match="member 'evil' is a link or device"):
        list(iterate_members(archive))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("evil")
    link.external_attr = 0o120777 << 16  # a symbolic link
    with pytest.raises(DataError, match="member 'evil' is a link or device"):
        list(iterate_members(make_zip(tmp_path / "a.zip", {}, link)))


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_a_cut_off_archive_is_an_error_at_every_length(
    make: Maker, name: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    whole = make(tmp_path / name, {f"{i}.bin": rng.bytes(3000) for i in range(5)}).read_bytes()
    cut = tmp_path / f"cut_{name}"
    for size in [*range(0, len(whole), 997), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"of {size} .*Delete it and download it again"):
            list(iterate_members(cut))


def test_a_cut_off_tar_says_how_far_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = {f"{i}.bin": rng.bytes(600_000) for i in range(5)}
    archive = make_tar(tmp_path / "a.tar.gz", files)
    archive.write_bytes(archive.read_bytes()[:1_500_000])
    # 600 kB of noise do not compress: two members end before byte 1,500,000, the third does not.
    with pytest.raises(DataError, match=r"after 2 files \(the last is '1\.bin'\), at byte 1500000"):
        list(iterate_members(archive))


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_a_changed_byte_is_an_error(make: Maker, name: str, tmp_path: Path) -> None:
    archive = make(tmp_path / name, {"a.bin": CONTENT, "b.bin": CONTENT})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut off"):
        list(iterate_members(archive))


def test_a_wrong_sum_at_the_end_of_a_gzip_is_an_error(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"a.txt": b"text"})
    content = archive.read_bytes()
    archive.write_bytes(content[:-8] + bytes(4) + content[-4:])  # CRC-32, then the size
    with pytest.raises(DataError, match="CRC check failed"):
        list(iterate_members(archive))


def test_a_gzip_that_holds_no_tar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(CONTENT))
    with pytest.raises(DataError, match="at its start"):
        list(iterate_members(tmp_path / "a.tar.gz"))


def test_a_missing_or_unknown_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; run the download stage"):
        list(iterate_members(tmp_path / "a.zip"))
    with pytest.raises(DataError, match=r"cannot read this kind.*\.tar\.gz.*\.zip"):
        list(iterate_members(tmp_path / "a.7z"))
