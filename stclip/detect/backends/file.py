"""Boxes that someone else detected: a list of COCO results, with a COCO-like list of images.

The authors' released boxes are such a file (scores as text, corners as boxes, persons are 0).
"""

import gzip
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from stclip.config import DetectorConfig
from stclip.detect.backends.backend import NOTHING, Found, Key, needed_file
from stclip.detect.backends.file_config import FileDetectorConfig
from stclip.errors import DataError
from stclip.records import Clips

logger = logging.getLogger(__name__)


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
        self.found = _read_rows(path, images, config, threshold=settings.score_threshold)

    def find(self, keys: Sequence[Key], pictures: Sequence[np.ndarray]) -> list[Found]:
        """What the file holds for these frames, in its order."""
        return [self.found.get(key, NOTHING) for key in keys]


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return json.loads(content)
    except (gzip.BadGzipFile, EOFError, ValueError) as error:
        raise DataError(f"{path}: not JSON ({error}); is the download whole?") from None


def _read_images(path: Path, clips: Clips, *, first_frame: int) -> dict[int, Key]:
    """Image id -> clip and 0-based frame; every one must exist in the data set."""
    content = _read(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise DataError(
            f"{path}: expected a COCO-like file whose `images` list says what they are."
        )
    lengths = dict(zip(clips.table["clip"], clips.table["num_frames"].tolist(), strict=True))
    keys: dict[int, Key] = {}
    for image in images:
        try:
            number = int(image["id"])
            name, frame = _names(image)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: image {image!r}: expected `id`, and `movie` with `timestamp`, or "
                f"`file_name` or `img_path` like VIDEO/00001.png ({error!r})."
            ) from None
        parts = PurePosixPath(name).parts  # class folders may stand before the clip's name
        suffixes = ["/".join(parts[i:]) for i in range(len(parts))]
        clip = next((s for s in suffixes if s in lengths), None)
        if clip is None:
            raise DataError(
                f"{path}: image {number} is of clip {name!r}, unknown in clips.parquet."
            )
        if not 0 <= frame - first_frame < lengths[clip]:
            last = first_frame + lengths[clip] - 1
            raise DataError(
                f"{path}: image {number} is frame {frame} of clip {clip!r}, whose frames are "
                f"{first_frame} to {last}."
            )
        if keys.setdefault(number, (clip, frame - first_frame)) != (clip, frame - first_frame):
            raise DataError(f"{path}: two images have the id {number}.")
    return keys


def _names(image: Mapping[str, Any]) -> tuple[str, int]:
    """Clip (perhaps with folders before it) and frame number as the file gives them."""
    if "movie" in image:
        return str(image["movie"]), int(image["timestamp"])
    path = PurePosixPath(image["file_name"] if "file_name" in image else image["img_path"])
    return str(path.parent), int(path.stem)


def _read_rows(
    path: Path, images: Mapping[int, Key], config: FileDetectorConfig, *, threshold: float
) -> dict[Key, Found]:
    rows = _read(path)
    if not isinstance(rows, list) or not rows:
        raise DataError(
            f"{path}: expected a list of detections (image_id, category_id, bbox, score) with at "
            f"least one row, found {'an empty one' if rows == [] else type(rows).__name__}."
        )
    found: dict[Key, list[tuple[float, ...]]] = defaultdict(list)
    seen: set[tuple[Any, ...]] = set()
    dropped: Counter[str] = Counter()
    categories: Counter[Any] = Counter()
    for number, row in enumerate(rows):
        where = f"{path}: row {number}"
        try:
            image, category, box, score = (
                row[k] for k in ("image_id", "category_id", "bbox", "score")
            )
        except (KeyError, TypeError):
            raise DataError(
                f"{where}: expected image_id, category_id, bbox, score; found {row!r}."
            ) from None
        if image not in images:
            raise DataError(f"{where}: image_id {image!r} is not in the list of images.")
        values = (*_corners(box, config.box_format, where), _score(score, where))
        categories[category] += 1
        key = images[image]
        if (category == config.person) == config.objects:
            dropped["of persons" if config.objects else "of other categories"] += 1
        elif values[-1] < threshold:
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
    if not found:
        raise DataError(
            f"{path}: no row is left for {_wanted(config)} at score {threshold} or above; "
            f"the file has categories {dict(categories.most_common(5))}. See `params.person`."
        )
    tables = {key: np.array(values, np.float32) for key, values in found.items()}
    return {key: Found(table[:, :4], table[:, 4]) for key, table in tables.items()}


def _wanted(config: FileDetectorConfig) -> str:
    return f"{'categories other than' if config.objects else 'category'} {config.person}"


def _corners(box: Any, box_format: str, where: str) -> tuple[float, ...]:
    try:
        a, b, c, d = (float(value) for value in box)
    except (TypeError, ValueError):
        raise DataError(f"{where}: bbox {box!r} is not four numbers.") from None
    if not all(map(math.isfinite, (a, b, c, d))):
        raise DataError(f"{where}: bbox {box!r} is not finite.")
    return (a, b, c, d) if box_format == "xyxy" else (a, b, a + c, b + d)


def _score(score: Any, where: str) -> float:
    """A number, or text that is one as in the authors' file."""
    try:
        value = float(score)
    except (TypeError, ValueError):
        raise DataError(f"{where}: score {score!r} is not a number.") from None
    if not 0 <= value <= 1:  # NaN neither
        raise DataError(f"{where}: score {score!r} lies outside 0..1.")
    return value
