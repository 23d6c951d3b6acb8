"""Boxes that someone else detected: a list of COCO results, with a COCO-like list of images.

The authors' released boxes are such a file (scores as text, corners as boxes, persons are 0).
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from stclip.boxes.looks import Looked, warn_look
from stclip.config import DetectorConfig
from stclip.detect.backends.backend import NOTHING, Found, Key, needed_file
from stclip.detect.backends.file_config import FileDetectorConfig
from stclip.errors import DataError
from stclip.records import Clips
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_id, as_numbers, refuse, whole
from stclip.storage.outside_files import read_json_file

logger = logging.getLogger(__name__)
_FIELDS = ("image_id", "category_id", "bbox", "score")


class FileDetector:
    """Answers from the files `detections` and `images`; never looks at a picture."""

    needs_frames = False

    Config = FileDetectorConfig

    def __init__(
        self,
        config: FileDetectorConfig,
        *,
        settings: DetectorConfig,
        files: Mapping[str, Path],
        clips: Clips,
    ) -> None:
        """Read and check both files.

        Raises:
            DataError: a file is missing, empty or damaged; a row names an image, clip or frame that
                does not exist, or has a box or score that cannot be.
        """
        path = needed_file(files, "detections", settings=settings)
        images = _read_images(
            needed_file(files, "images", settings=settings), clips, first_frame=config.first_frame
        )
        self.found = _read_rows(
            path, images, config, threshold=settings.score_threshold, clips=clips
        )

    def find(self, keys: Sequence[Key], pictures: Sequence[np.ndarray]) -> list[Found]:
        """What the file holds for these frames, in its order."""
        return [self.found.get(key, NOTHING) for key in keys]


def _read_images(path: Path, clips: Clips, *, first_frame: int) -> dict[int | str, Key | None]:
    """Image id -> clip and 0-based frame; None for images of clips that the data set lacks."""
    content = read_json_file(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise DataError(
            f"{path}: expected a COCO-like file whose `images` list says what they are."
        )
    columns = (clips.table[c].tolist() for c in ("num_frames", "width", "height"))
    about = dict(zip(clips.table["clip"], zip(*columns, strict=True), strict=True))
    named = [_names(image, f"{path}: images[{n}]") for n, image in enumerate(images)]
    found = [_known(name, about) for _, name, _ in named]
    names = [clip or name for clip, (_, name, _) in zip(found, named, strict=True)]
    match_names(names, about, where=path, what="images", among="clips of clips.parquet")
    keys: dict[int | str, Key | None] = {}
    for image, clip, (number, _, frame) in zip(images, found, named, strict=True):
        key = None
        if clip is not None:
            length, *size = about[clip]
            where = f"{path}: image {number!r}"
            if not 0 <= frame - first_frame < length:
                raise DataError(
                    f"{where} is frame {frame} of clip {clip!r}, whose frames are {first_frame} to "
                    f"{first_frame + length - 1}."
                )
            _check_size(image, size, where)
            key = (clip, frame - first_frame)
        if number in keys and keys[number] != key:
            raise DataError(f"{path}: two images have the id {number!r}.")
        keys[number] = key
    return keys


def _known(name: str, clips: Collection[str]) -> str | None:
    """The clip of a name; class folders may stand before the clip's name."""
    parts = PurePosixPath(name).parts
    return next((s for i in range(len(parts)) if (s := "/".join(parts[i:])) in clips), None)


def _check_size(image: Mapping[str, Any], size: Sequence[int], where: str) -> None:
    """A size that the file states is that of the clip's pictures: boxes are in their pixels."""
    for side, pixels in zip(("width", "height"), size, strict=True):
        if side in image and whole(image[side], side, where) != pixels:
            raise DataError(
                f"{where}: {side} {image[side]!r} is not the clip's, {pixels}: its boxes are of "
                "pictures of another size; scale them."
            )


def _names(image: Any, where: str) -> tuple[int | str, str, int]:
    """Id, clip (perhaps with folders before it) and frame number as the file gives them."""
    path = next(
        (image[k] for k in ("file_name", "img_path") if isinstance(image, dict) and k in image),
        None,
    )
    of_video = isinstance(image, dict) and {"movie", "timestamp"} <= image.keys()
    if not isinstance(image, dict) or "id" not in image or not (of_video or isinstance(path, str)):
        raise DataError(
            f"{where}: {image!r}: expected `id`, and `movie` with `timestamp`, or `file_name` or "
            "`img_path` like VIDEO/00001.png."
        )
    number = as_id(image["id"], where)
    if of_video:
        return number, str(image["movie"]), whole(image["timestamp"], "timestamp", where)
    assert path is not None
    place = PurePosixPath(path)
    return number, str(place.parent), whole(place.stem, "frame (of its file name)", where)


def _read_rows(
    path: Path,
    images: Mapping[int | str, Key | None],
    config: FileDetectorConfig,
    *,
    threshold: float,
    clips: Clips,
) -> dict[Key, Found]:
    rows = read_json_file(path)
    if not isinstance(rows, list) or not rows:
        raise DataError(
            f"{path}: expected a list of detections (image_id, category_id, bbox, score) with at "
            f"least one row, found {'an empty one' if rows == [] else type(rows).__name__}."
        )
    given = [_fields(row, f"{path}: row {number}") for number, row in enumerate(rows)]
    scores = as_numbers([row[3] for row in given], "score", lambda n: f"{path}: row {n}")
    refuse(
        (scores < 0) | (scores > 1), [row[3] for row in given], "score",
        lambda n: f"{path}: row {n}", "lies outside 0..1",
    )  # fmt: skip
    boxes = _boxes([row[2] for row in given], config.box_format, path)
    found: dict[Key, list[tuple[float, ...]]] = defaultdict(list)
    seen: set[tuple[Any, ...]] = set()
    dropped: Counter[str] = Counter()
    categories: Counter[int | str] = Counter()
    of_clips: list[str] = []
    for number, ((image, category, *_), box, score) in enumerate(
        zip(given, boxes.tolist(), scores.tolist(), strict=True)
    ):
        if image not in images:
            raise DataError(
                f"{path}: row {number}: image_id {image!r} is not in the list of images."
            )
        categories[category] += 1
        key, values = images[image], (*box, score)
        of_clips.append("" if key is None else key[0])
        if key is None:
            dropped["of unknown clips"] += 1
        elif (category == config.person) == config.objects:
            dropped["of persons" if config.objects else "of other categories"] += 1
        elif score < threshold:
            dropped[f"below score {threshold}"] += 1
        elif (key, *values) in seen:
            dropped["exact duplicates"] += 1
        else:
            seen.add((key, *values))
            found[key].append(values)
    logger.info(
        "%s: read %d rows, kept %d on %d of %d listed images, dropped %s",
        path, len(rows), len(seen), len(found), len(images), dict(dropped) or "none",
    )  # fmt: skip
    sizes = clips.table.set_index("clip")[["width", "height"]].reindex(of_clips).to_numpy(float)
    known = np.isfinite(sizes).all(1)
    warn_look(Looked(boxes[known], sizes[known]), path)
    if not found:
        raise DataError(
            f"{path}: no row is left for {_wanted(config)} at score {threshold} or above; "
            f"the file has categories {dict(categories.most_common(5))}. See `params.person`."
        )
    tables = {key: np.array(values, np.float32) for key, values in found.items()}
    return {key: Found(table[:, :4], table[:, 4]) for key, table in tables.items()}


def _fields(row: Any, where: str) -> tuple[int | str, int | str, Any, Any]:
    """Image, category, box and score of a row."""
    if not isinstance(row, dict) or not row.keys() >= set(_FIELDS):
        raise DataError(f"{where}: expected {', '.join(_FIELDS)}; found {row!r}.")
    image, category = (as_id(row[k], f"{where}: {k}") for k in ("image_id", "category_id"))
    return image, category, row["bbox"], row["score"]


def _boxes(boxes: Sequence[Any], box_format: str, path: Path) -> np.ndarray:
    """Corners, float64 (rows, 4)."""
    for number, box in enumerate(boxes):
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{path}: row {number}: bbox {box!r} is not four numbers.")
    flat = [value for box in boxes for value in box]
    corners = as_numbers(flat, "bbox", lambda n: f"{path}: row {n // 4}").reshape(-1, 4)
    if box_format == "xywh":
        corners[:, 2:] += corners[:, :2]
    return corners


def _wanted(config: FileDetectorConfig) -> str:
    return f"{'categories other than' if config.objects else 'category'} {config.person}"
