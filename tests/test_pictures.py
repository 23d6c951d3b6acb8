"""Stored frames: what goes in comes out, in any order; damage and gaps are named."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from stclip.errors import DataError
from stclip.storage import frame_store as pictures
from stclip.storage.frame_store import (
    FrameWriter,
    clip_file,
    read_clip,
    read_frame,
    read_pixels,
    write_clip,
)

RNG = np.random.default_rng(0)
CLIP = RNG.integers(0, 256, (5, 6, 8, 3), np.uint8)
ODD = "Me_(100%)_@_home_+_friends!"


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    write_clip(tmp_path, ODD, CLIP)
    assert np.array_equal(read_clip(tmp_path, ODD), CLIP)
    for frame in range(5):
        picture = read_frame(tmp_path, ODD, frame)
        assert picture.mode == "RGB"
        assert np.array_equal(picture, CLIP[frame])
    assert [p.name for p in tmp_path.iterdir()] == [f"{ODD}.npy"]
    assert np.array_equal(np.load(clip_file(tmp_path, ODD)), CLIP)  # a plain numpy file


def test_frames_may_come_in_any_order_and_clips_mixed(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path)
    for frame in (3, 0, 4, 1, 2):
        writer.add("a", frame, CLIP[frame])
        writer.add("b", 4 - frame, CLIP[frame])
    with pytest.raises(DataError, match=r"a\.npy: damaged"):  # not readable before it is whole
        read_clip(tmp_path, "a")
    writer.finish()
    assert np.array_equal(read_clip(tmp_path, "a"), CLIP)
    assert np.array_equal(read_clip(tmp_path, "b"), CLIP[::-1])
    write_clip(tmp_path, "c", CLIP)
    assert clip_file(tmp_path, "a").read_bytes() == clip_file(tmp_path, "c").read_bytes()


def test_a_writer_refuses_doubles_other_sizes_and_gaps(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path)
    writer.add("a", 0, CLIP[0])
    with pytest.raises(DataError, match="is there twice"):
        writer.add("a", 0, CLIP[0])
    with pytest.raises(DataError, match="is 7x6, the clip's first picture 8x6"):
        writer.add("a", 1, CLIP[0, :, :7])
    writer.add("a", 2, CLIP[2])
    with pytest.raises(DataError, match=r"a: frame 1 \(0-based\) is missing"):
        writer.finish()


def test_a_clip_is_not_copied_and_cannot_be_changed(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", CLIP)
    first, again = read_pixels(tmp_path, "a", 0), read_pixels(tmp_path, "a", 0)
    assert np.shares_memory(first, again)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


@pytest.mark.parametrize("frame", [-1, 5, 99])
def test_a_frame_the_clip_does_not_have_is_named(frame: int, tmp_path: Path) -> None:
    write_clip(tmp_path, "a", CLIP)
    with pytest.raises(
        DataError,
        match=rf"a\.npy: frame {frame} of clip 'a' is missing, there are 0 to 4; run prepare again",
    ):
        read_frame(tmp_path, "a", frame)


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.npy: frames of clip 'a' are missing; run prepare"):
        read_clip(tmp_path, "a")


def _other(array: np.ndarray) -> Callable[[bytes], bytes]:
    def content(_: bytes) -> bytes:
        shape = repr(array.shape)
        header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
        padded = header.ljust(117) + "\n"
        return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()

    return lambda whole: content(whole) + array.tobytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:60],
        lambda whole: whole + b"x",
        lambda whole: b"",
        lambda whole: b"text",
        lambda whole: bytes(128) + whole[128:],
        lambda whole: whole[:20] + b"\xff\xff" + whole[22:],
        lambda whole: whole.replace(b"|u1", b"|O8"),
        lambda whole: whole.replace(b"(5, 6, 8, 3)", b"(5, 6, 8, -3)")[:-1],
        lambda whole: whole.replace(b"False", b"True "),
        _other(CLIP.astype(np.float32)),
        _other(CLIP[..., 0]),
        _other(CLIP[:0]),
    ],
)
def test_a_damaged_clip_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write_clip(tmp_path, "a", CLIP)
    path = clip_file(tmp_path, "a")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.npy: damaged \(.*\); delete .* and run prepare again"):
        read_frame(tmp_path, "a", 0)


def test_a_clip_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", CLIP)
    before = read_pixels(tmp_path, "a", 3)
    write_clip(tmp_path, "a", 255 - CLIP)
    assert np.array_equal(read_clip(tmp_path, "a"), 255 - CLIP)
    assert np.array_equal(before, CLIP[3])  # who still holds the old one keeps it


def test_thousands_of_clips_do_not_exhaust_file_descriptors(tmp_path: Path) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("counts open files in /proc")
    before = len(list(open_files.iterdir()))
    for number in range(200):
        write_clip(tmp_path, f"c{number}", CLIP)
        read_frame(tmp_path, f"c{number}", 0)
    assert len(list(open_files.iterdir())) - before <= pictures._OPEN_CLIPS


class Frames(Dataset[int]):
    """Sums of a clip's frames."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        return int(np.asarray(read_frame(self.folder, "a", index % 5)).sum(dtype=np.int64))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_what_the_main_process_has_open(start: str, tmp_path: Path) -> None:
    write_clip(tmp_path, "a", CLIP)
    expected = [int(CLIP[i % 5].sum(dtype=np.int64)) for i in range(40)]
    read_clip(tmp_path, "a")  # mapped before the workers are made
    context = multiprocessing.get_context(start)
    loader = DataLoader(
        Frames(tmp_path), batch_size=8, num_workers=2, multiprocessing_context=context
    )
    assert [int(v) for batch in loader for v in batch] == expected
