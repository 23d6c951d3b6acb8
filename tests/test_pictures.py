"""Stored frames: what goes in comes out, in any order; damage and gaps are named."""

import io
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from stclip.config.models import DatasetConfig
from stclip.errors import DataError
from stclip.storage import frame_store as pictures
from stclip.storage.clip_files import ClipWriter
from stclip.storage.frame_store import (
    FrameWriter,
    StoreName,
    clip_file,
    clip_writer,
    manifest,
    read_clip,
    read_frame,
    read_pixels,
    stored_clip,
    whole_clips,
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


# --- the store jpeg -----------------------------------------------------------------------------

Y, X = np.mgrid[:48, :64]
# Pictures without sharp edges, as JPEG likes them: 7 grey levels around a slope that moves.
SMOOTH = np.stack([np.stack([4 * X, 5 * Y, 2 * X + 2 * Y + f], axis=2) for f in range(6)])
SMOOTH = SMOOTH.clip(0, 255).astype(np.uint8)
STORES = get_args(StoreName)


def add_all(writer: ClipWriter, frames: list[np.ndarray]) -> None:
    for frame, picture in enumerate(frames):
        writer.add(frame, picture)


def saved(picture: np.ndarray, mode: str = "RGB", kind: str = "JPEG", **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def opened(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_setting_names_the_stores_there_are() -> None:
    assert DatasetConfig.model_fields["frame_store"].annotation == StoreName
    assert list(pictures._STORES) == list(STORES)


def test_a_jpeg_clip_is_nearly_what_was_stored_and_pillow_sees_the_same(tmp_path: Path) -> None:
    write_clip(tmp_path, ODD, SMOOTH, store="jpeg")
    assert [p.name for p in tmp_path.iterdir()] == [f"{ODD}.jpegs"]
    found = read_clip(tmp_path, ODD)
    assert found.shape == SMOOTH.shape
    assert np.abs(found.astype(int) - SMOOTH).mean() < 1.5
    content = (tmp_path / f"{ODD}.jpegs").read_bytes()
    first = content[: content.index(b"\xff\xd9") + 2]  # the file begins as its first picture does
    assert np.array_equal(opened(first), found[0])
    with Image.open(io.BytesIO(first)) as picture:
        # colours at half the width and half the height
        assert [layer[1:3] for layer in picture.layer] == [(2, 2), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match="read-only"):
        read_pixels(tmp_path, ODD, 0)[0, 0] = 1


def test_frame_numbers_may_have_gaps_and_come_in_any_order(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path, "jpeg")
    for frame, row in ((900, 2), (3, 0), (30, 1)):
        writer.add("a", frame, SMOOTH[row])
        writer.add("b", 5 - row, SMOOTH[row])
    assert list(writer.clips["a"].numbers) == [900, 3, 30]
    with pytest.raises(DataError, match=r"a\.jpegs: damaged \(its end is not that of a whole clip"):
        read_clip(tmp_path, "a")
    writer.finish()
    write_clip(tmp_path, "c", SMOOTH[:3], store="jpeg")
    whole = read_clip(tmp_path, "c")
    assert np.array_equal(read_clip(tmp_path, "a"), whole)
    assert np.array_equal(read_clip(tmp_path, "b"), whole[::-1])
    assert np.array_equal(read_frame(tmp_path, "a", 30), whole[1])
    assert list(stored_clip(tmp_path, "a").numbers) == [3, 30, 900]
    for clip, frame, told in (("a", 4, "3 of 3 to 900"), ("b", 0, "3 to 5")):
        with pytest.raises(DataError, match=rf"frame {frame} of clip '{clip}'.*there are {told};"):
            read_frame(tmp_path, clip, frame)


def test_a_jpeg_file_is_stored_as_it_came(tmp_path: Path) -> None:
    published = [saved(picture, quality=75) for picture in SMOOTH[:2]]
    with clip_writer(tmp_path, "a", "jpeg") as writer:
        for frame, content in enumerate(published):
            writer.add(frame, opened(content), encoded=content)
    assert (tmp_path / "a.jpegs").read_bytes().startswith(b"".join(published))
    assert np.array_equal(read_clip(tmp_path, "a"), [opened(content) for content in published])


@pytest.mark.parametrize(
    "encoded",
    [
        saved(SMOOTH[0], kind="PNG"),
        saved(SMOOTH[1]),  # of another picture
        saved(SMOOTH[0])[:-100],
        b"",
    ],
)
def test_what_does_not_decode_to_the_picture_is_encoded_anew(
    encoded: bytes, tmp_path: Path
) -> None:
    with clip_writer(tmp_path, "a", "jpeg") as writer:
        writer.add(0, SMOOTH[0], encoded=encoded)
    write_clip(tmp_path, "b", SMOOTH[:1], store="jpeg")
    same = [(tmp_path / f"{clip}.jpegs").read_bytes() for clip in "ab"]
    assert same[0] == same[1]


@pytest.mark.parametrize("store", STORES)
def test_a_clip_in_the_making_is_not_there(store: StoreName, tmp_path: Path) -> None:
    write_clip(tmp_path, "done", SMOOTH, store=store)
    with clip_writer(tmp_path, "next", store) as writer:
        writer.add(0, SMOOTH[0])
        assert list(whole_clips(tmp_path)) == ["done"]
    assert {clip: len(s.numbers) for clip, s in whole_clips(tmp_path).items()} == {
        "done": 6, "next": 1,
    }  # fmt: skip
    with pytest.raises(DataError, match="8x8"), clip_writer(tmp_path, "bad", store) as writer:
        add_all(writer, [SMOOTH[0], SMOOTH[1, :8, :8]])
    with (
        pytest.raises(DataError, match=r"none: has no frames"),
        clip_writer(tmp_path, "none", store),
    ):
        pass
    path = clip_file(tmp_path, "next", store)
    path.write_bytes(path.read_bytes()[:-1])
    assert list(whole_clips(tmp_path)) == ["done"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_clip_that_is_there_in_both_stores_is_an_error(tmp_path: Path) -> None:
    for store in STORES:
        write_clip(tmp_path, "a", SMOOTH, store=store)
    with pytest.raises(
        DataError, match=r"a\.npy: damaged \(a\.jpegs beside it holds the same clip"
    ):
        read_clip(tmp_path, "a")


def test_every_changed_byte_of_a_jpeg_clip_is_told(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", SMOOTH[:2, :16, :16], store="jpeg")
    path = tmp_path / "a.jpegs"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"a\.jpegs: damaged \(.*\); delete .* and run prepare"):
            read_clip(tmp_path, "a")
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.jpegs: damaged \(.*\); delete .* and run prepare"):
            read_frame(tmp_path, "a", 0)


def test_a_manifest_tells_frames_and_stores_apart(tmp_path: Path) -> None:
    found = [manifest(tmp_path, ["a"])]
    write_clip(tmp_path, "a", SMOOTH, store="jpeg")
    found.append(manifest(tmp_path, ["a"]))
    with clip_writer(tmp_path, "a", "jpeg") as writer:  # the same pictures under other numbers
        for frame, picture in enumerate(SMOOTH):
            writer.add(frame + 1, picture)
    found.append(manifest(tmp_path, ["a"]))
    (tmp_path / "a.jpegs").unlink()
    write_clip(tmp_path, "a", SMOOTH)
    found.append(manifest(tmp_path, ["a"]))
    assert len({*found}) == 4
    (tmp_path / "a.npy").unlink()
    writer = FrameWriter(tmp_path, "jpeg")
    for frame in (5, 3, 1, 0, 2, 4):  # in whatever order they came
        writer.add("a", frame, SMOOTH[frame])
    writer.finish()
    assert manifest(tmp_path, ["a"]) == found[1]
