"""Archives that lie: members outside the folder, links, cut-off and changed bytes."""

import gzip
import io
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rar4 import END_BLOCK, LINK, MARK, NORMAL, write_rar

from stclip.errors import DataError
from stclip.storage.archives import iterate_members, locate, matching_members

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


def make_rar(path: Path, files: dict[str, bytes]) -> Path:
    return write_rar(path, files)


MAKERS = [(make_tar, "a.tar.gz"), (make_zip, "a.zip"), (make_rar, "a.rar")]
Maker = Callable[..., Path]


def entry(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_members_come_in_order(make: Maker, name: str, tmp_path: Path) -> None:
    files = {"b/2.txt": b"two", "a/1 (!) @+.txt": b"", "c.bin": CONTENT}
    assert list(iterate_members(make(tmp_path / name, files))) == list(files.items())


def test_backslashes_in_the_names_of_a_zip_part_folders(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for name in ("a\\", "a\\b\\1.txt"):
            info = zipfile.ZipInfo()
            info.filename = name  # its constructor mends what it can
            written.writestr(info, b"" if name.endswith("\\") else b"one")
    assert list(iterate_members(archive)) == [("a/b/1.txt", b"one")]


def test_folders_are_skipped(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar.gz", {"a/1": b"1"}, entry("b", tarfile.DIRTYPE))
    archive = make_zip(tmp_path / "a.zip", {"b/": b"", "a/1": b"1"})
    rar = write_rar(tmp_path / "a.rar", {"b": None, "a/1": b"1"})
    for source in (tar, archive, rar):
        assert list(iterate_members(source)) == [("a/1", b"1")]


@pytest.mark.parametrize(("make", "name"), MAKERS)
@pytest.mark.parametrize(
    "member", ["../out.txt", "/etc/x", "a/../../x", "..\\x", "C:\\x", "a\\..\\x"]
)
def test_a_member_outside_the_folder_is_refused(
    make: Maker, name: str, member: str, tmp_path: Path
) -> None:
    archive = make(tmp_path / name, {"good.txt": b"x", member: b"evil"})
    with pytest.raises(DataError, match=r"a\.(zip|tar\.gz|rar): member .* outside the folder"):
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


def test_links_in_a_rar_are_refused(tmp_path: Path) -> None:
    archive = write_rar(tmp_path / "a.rar", {"evil": b"/etc/passwd"}, mode=LINK)
    with pytest.raises(DataError, match="member 'evil' is a link or device"):
        list(iterate_members(archive))


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
    with pytest.raises(DataError, match=r"cannot read this kind.*\.tar\.gz.*\.zip.*\.rar"):
        list(iterate_members(tmp_path / "a.7z"))


# --- an unpacked copy ---------------------------------------------------------------------------


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_reads_like_the_archive_that_holds_it(tmp_path: Path) -> None:
    files = {"a/1 (!) @+.txt": b"one", "a/2.txt": b"", "b/c/3.bin": CONTENT, "d.txt": b"four"}
    folder = unpack(tmp_path / "top", dict(reversed(files.items())))
    (folder / "empty").mkdir()
    packed = make_tar(tmp_path / "a.tar.gz", {f"top/{name}": c for name, c in files.items()})
    assert list(iterate_members(folder)) == list(iterate_members(packed))  # sorted by name


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "elsewhere", {"a/1": b"1"})
    (tmp_path / "top").symlink_to(folder)
    assert list(iterate_members(tmp_path / "top")) == [("elsewhere/a/1", b"1")]


def test_a_link_inside_the_folder_is_its_file(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "top", {"a/1": b"1"})
    (folder / "b").symlink_to("a/1")
    assert list(iterate_members(folder)) == [("top/a/1", b"1"), ("top/b", b"1")]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/etc/passwd", "a link out of the folder"),
        ("../outside", "a link out of the folder"),
        ("../../nothing", "a link out of the folder"),
        ("nothing", "a link to a folder, a broken link or a device"),
        (".", "a link to a folder, a broken link or a device"),  # would go round and round
    ],
)
def test_other_links_in_a_folder_are_refused(target: str, why: str, tmp_path: Path) -> None:
    folder = unpack(tmp_path / "top", {"a/1": b"1"})
    unpack(tmp_path / "outside", {"x": b"x"})
    (folder / "evil").symlink_to(target)
    with pytest.raises(DataError, match=f"top: member 'top/evil' is {why}"):
        list(iterate_members(folder))


def test_the_archive_is_taken_before_the_folder_unpacked_from_it(tmp_path: Path) -> None:
    assert locate(tmp_path, "a.tar.gz") == tmp_path / "a.tar.gz"  # what is missing has this name
    unpack(tmp_path / "a", {"1": b"1"})
    assert locate(tmp_path, "a.tar.gz") == tmp_path / "a"
    make_tar(tmp_path / "a.tar.gz", {})
    assert locate(tmp_path, "a.tar.gz") == tmp_path / "a.tar.gz"


# --- only some members --------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_unwanted_members_are_passed_over_but_checked(
    make: Maker, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"flow/1.jpg": CONTENT, "frames/1.jpg": b"one", "flow/2.jpg": CONTENT}
    archive = make(tmp_path / name, files)
    with caplog.at_level("INFO"):
        members = list(matching_members(archive, r"frames/(?P<number>.)\..*"))
    assert [(str(n), m["number"], c) for n, m, c in members] == [("frames/1.jpg", "1", b"one")]
    assert f"{name}: 2 files of other kinds ignored" in caplog.text
    with pytest.raises(DataError, match="outside the folder"):
        list(iterate_members(make(tmp_path / name, {"../x": b""}), lambda _: False))
    content = bytearray(make(tmp_path / name, files).read_bytes())
    content[len(content) // 4] ^= 0xFF  # within the first, unwanted file
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut off"):
        list(iterate_members(archive, lambda member: "flow" not in member))


def test_an_unwanted_member_is_never_in_memory(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"big": bytes(60_000_000), "small": b"x"})
    tracemalloc.start()
    assert list(iterate_members(archive, lambda name: name == "small")) == [("small", b"x")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_unwanted_members_of_archives_with_a_directory_need_not_be_read(
    make: Maker, name: str, tmp_path: Path
) -> None:
    files = {"flow/1.jpg": CONTENT, "frames/1.jpg": b"one", "frames/2.jpg": CONTENT}
    archive = make(tmp_path / name, files)
    content = bytearray(archive.read_bytes())
    content[len(content) // 4] ^= 0xFF  # within the first file

    def read(pattern: str) -> list[bytes]:
        archive.write_bytes(content)
        return [c for *_, c in matching_members(archive, pattern, verify_unwanted=False)]

    if make is make_tar:
        with pytest.raises(DataError, match="damaged or cut off"):
            read("frames/.*")
        return
    assert read("frames/.*") == [b"one", CONTENT]
    with pytest.raises(DataError, match="damaged or cut off at its start"):  # it is wanted
        read("flow/.*")
    content = bytearray(make(tmp_path / name, {"good": b"1", "../x": b""}).read_bytes())
    with pytest.raises(DataError, match="outside the folder"):
        read("good")


# --- .rar ---------------------------------------------------------------------------------------


def test_a_rar_cut_between_two_members_is_an_error(tmp_path: Path) -> None:
    archive = write_rar(tmp_path / "a.rar", {"1": b"one", "2": b"two"})
    for content in (archive.read_bytes().removesuffix(END_BLOCK), MARK):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.rar: damaged or cut off at .*end is missing"):
            list(iterate_members(archive))


def test_a_name_twice_in_a_rar_is_an_error(tmp_path: Path) -> None:
    archive = write_rar(tmp_path / "a.rar", {"a": b"one", "b": b"two"})
    whole = archive.read_bytes()
    one = whole[whole.index(b"a" + b"one") - 32 : whole.index(b"one") + 3]
    archive.write_bytes(whole.replace(one, one + one))
    with pytest.raises(DataError, match="a name is there twice"):
        list(iterate_members(archive))


def test_a_compressed_rar_needs_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_rar(tmp_path / "a.rar", {"a.avi": CONTENT}, method=NORMAL)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"a\.rar: .*compressed.*the free `unar` .*extracted"):
        list(iterate_members(archive))
    write_rar(archive, {"a.avi": CONTENT})
    assert list(iterate_members(archive)) == [("a.avi", CONTENT)]  # what is stored needs none


@pytest.mark.skipif(not shutil.which("unar"), reason="needs the program unar")
@pytest.mark.parametrize("solid", [False, True])
def test_a_damaged_compressed_rar_is_an_error(
    solid: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = tmp_path / "a.rar"
    write_rar(archive, {"a.avi": CONTENT}, method=NORMAL, solid=solid)  # noise
    with pytest.raises(DataError, match=r"a\.rar: damaged or cut off.*Delete it and download"):
        list(iterate_members(archive))
    assert ("unpacked from the start again" in caplog.text) == solid
