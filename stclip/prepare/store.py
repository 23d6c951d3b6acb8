"""What all parsers end with: published picture files -> stored frames, tables written last.

Picture files are called `.../<class>/<video>/<number>.<png or jpg>`, numbered from 1 without gap.

H, W: height and width of a picture.
"""

import re
from collections.abc import Callable, Collection, Iterable
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stclip.boxes.looks import Looked, warn_look
from stclip.errors import DataError
from stclip.records import Boxes, Clips
from stclip.storage.archives import matching_members
from stclip.storage.clip_files import StoredClip
from stclip.storage.files import whole_folder
from stclip.storage.frame_store import FrameWriter, StoreName

# Whole name of a picture file; a leading dot is what file managers leave behind (._00001.png).
FRAME_FILE = r"(?:.*/)?(?P<number>[^./][^/]*)\.(?P<kind>(?i:png|jpe?g))"

_END_OF_JPEG = b"\xff\xd9"
# Any data; the markers between them are those of restarts, where a picture has such.
_MORE = b"".join(bytes(range(1, 255)) + bytes([0xFF, 0xD0 + n]) for n in range(8))


def write_prepared(
    out: Path, build: Callable[[Path], tuple[Clips, Boxes]], *, resume: str | None = None
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet, each whole or not at all.

    Warns if the boxes do not look like pixels of the pictures.

    Args:
        out: Folder of the prepared data; other files in it are left alone.
        build: Fills the folder of frames it is given and returns the tables.
        resume: What the frames depend on, as text, if `build` can go on where an earlier try that
            depended on the same broke off: it then finds the clips that were whole in its folder
            (`stclip.storage.frame_store.whole_clips`).
    """
    with whole_folder(out / "frames", resume=resume) as folder:
        clips, boxes = build(folder)
        # clips.parquet says that all is whole: it goes before the first and comes after the last.
        (out / "clips.parquet").unlink(missing_ok=True)
    sizes = clips.table.set_index("clip")[["width", "height"]].reindex(boxes.table["clip"])
    warn_look(Looked(boxes.boxes_xyxy, sizes.to_numpy(np.float64)), out / "boxes.parquet")
    boxes.write(out / "boxes.parquet")
    clips.write(out / "clips.parquet")


class FrameStore:
    """Takes a source's picture files one by one and stores them under the bare video names."""

    def __init__(self, source: Path, frames: Path, frame_store: StoreName) -> None:
        """Begin with an empty store.

        Args:
            source: archive or folder, for messages.
            frames: existing folder to store in.
            frame_store: how; `jpeg` keeps JPEG files as they are.
        """
        self.source = source
        self._writer = FrameWriter(frames, frame_store)
        self._folders: dict[str, str] = {}  # clip -> <class>/<video>

    def add(self, name: PurePosixPath, number: str, content: bytes) -> None:
        """Decode and store one picture file; `number` is its bare name without suffix.

        Raises:
            DataError: the name is not one, the picture does not decode, is there twice or has
                another size than the others of its video.
        """
        where = f"{self.source}: {name}"
        if not re.fullmatch(r"\d+", number, re.ASCII) or int(number) < 1:
            raise DataError(f"{where}: pictures are called 00001{name.suffix} and so on, from 1.")
        video = video_of(self.source, name)
        clip = name.parent.name
        if self._folders.setdefault(clip, video) != video:
            raise DataError(
                f"{where}: video {clip!r} is in two classes, {self._folders[clip]} and {video}."
            )
        picture = decode(content, where)
        try:
            self._writer.add(clip, int(number) - 1, picture, encoded=content)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None

    def finish(self) -> dict[str, StoredClip]:
        """Make the frames readable; `<class>/<video>` -> what is stored.

        Raises:
            DataError: a video's pictures are not numbered 1..N.
        """
        found = {self._folders[clip]: stored for clip, stored in self._writer.clips.items()}
        for video, stored in found.items():
            last = max(stored.numbers) + 1
            missing = sorted(set(range(last)) - stored.numbers.keys())
            if missing:
                more = f" and {len(missing) - 1} more" if missing[1:] else ""
                raise DataError(
                    f"{self.source}: {video}: frames should be 1 to {last}, missing is "
                    f"{missing[0] + 1}{more}."
                )
        self._writer.finish()
        return found


def store_frames(source: Path, frames: Path, frame_store: StoreName) -> dict[str, StoredClip]:
    """Store all pictures of an archive or folder; `<class>/<video>` -> what is stored."""
    store = FrameStore(source, frames, frame_store)
    for name, match, content in matching_members(source, FRAME_FILE):
        store.add(name, match["number"], content)
    return store.finish()


def decode(content: bytes, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """The RGB pixels of a whole PNG or JPEG file; grey ones of 16 bits are scaled to 8.

    Raises:
        DataError: it does not decode, a check sum is wrong, or part of it is missing.
    """
    try:
        with Image.open(BytesIO(content), formats=["PNG", "JPEG"]) as picture:
            picture.verify()  # every chunk up to the last; it uses the picture up
            of_jpeg = picture.format == "JPEG"
        pixels = _pixels(content)
        if of_jpeg and _is_cut_short(content, pixels):
            raise ValueError("its end is missing, what follows is grey")
        return pixels
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{where}: does not decode as PNG or JPEG ({error}). Get it again: delete the archive "
            "and download it, or unpack it anew."
        ) from None


def _pixels(content: bytes) -> UInt8[np.ndarray, "H W 3"]:
    with Image.open(BytesIO(content), formats=["PNG", "JPEG"]) as picture:
        if picture.mode.startswith("I"):  # grey of 16 bits, which convert() would clip at 255
            grey = (np.asarray(picture).astype(np.uint32) + 128) // 257
            return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
        return np.asarray(picture.convert("RGB"))


def _is_cut_short(content: bytes, pixels: np.ndarray) -> bool:
    """Whether a JPEG's data end before its picture does, although its end marker is there.

    The decoder says nothing and fills up with grey. But then it still waits for data: more of them
    before the end marker change the picture, while a whole one takes no notice.
    """
    end = content.rfind(_END_OF_JPEG)
    return not np.array_equal(_pixels(content[:end] + _MORE + content[end:]), pixels)


def video_of(source: Path, name: PurePosixPath) -> str:
    """`<class>/<video>` of a file in a video's folder."""
    if len(name.parts) < 3:
        raise DataError(f"{source}: {name}: expected <class>/<video>/{name.name}.")
    return "/".join(name.parts[-3:-1])


def same_videos(
    source: Path, found: Iterable[str], what: str, *, listed: Collection[str], by: str
) -> None:
    """Every listed video was found in `source`, and no others.

    Raises:
        DataError: naming the first three that are missing or too many.
    """
    videos = set(found)
    for names, problem in (
        (set(listed) - videos, f"videos of {by} without {what}"),
        (videos - set(listed), f"videos with {what} that {by} does not list"),
    ):
        if names:
            first = ", ".join(sorted(names)[:3])
            raise DataError(f"{source}: {len(names)} {problem}, the first: {first}.")
