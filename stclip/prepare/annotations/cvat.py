"""CVAT's XML 1.1, for video (`track`s of boxes) or for images (a `box` in each `image`).

Boxes are corners in pixels, frames count from 0. A track names its person; boxes that are `outside`
are not seen and left out. The label is the track's, or the attribute that somebody names. Which
video it is says `meta/task/source`, or `--video`.

XML from outside is read without its document type: entities, which could read files of this machine
or grow without end, are refused with it.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from stclip.errors import DataError
from stclip.prepare.annotations.found import (
    Format,
    Found,
    ReadAs,
    box_of,
    picture_place,
    rows_from,
)
from stclip.storage.numbers import whole

_SIDES = ("xtl", "ytl", "xbr", "ybr")
_SOURCES = ("./meta/task/source", "./meta/job/source", "./meta/source")


def parse_xml(content: bytes, where: str | Path) -> ET.Element:
    """The root of an XML text without a document type.

    Raises:
        DataError: it is no XML, or has a document type.
    """

    def refuse_type(*_: object) -> None:
        raise DataError(
            f"{where}: has a document type (<!DOCTYPE ...>), which can read files or grow without "
            "end; CVAT writes none. Remove it if you trust the file."
        )

    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = refuse_type
    try:
        checker.Parse(content, True)
        return ET.fromstring(content)
    except (expat.ExpatError, ET.ParseError) as error:
        raise DataError(f"{where}: not XML ({error}); is the file whole?") from None


def _looks_like(content: bytes) -> bool:
    return content.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<"


def _read(content: bytes, path: Path, read_as: ReadAs) -> Found:
    root = parse_xml(content, path)
    if root.tag != "annotations":
        raise DataError(f"{path}: its root is <{root.tag}>; CVAT's is <annotations>.")
    passed: Counter[str] = Counter()
    rows = [*_of_tracks(root, path, read_as, passed), *_of_images(root, path, read_as)]
    shapes = [e.tag for e in root.iter() if e.tag in ("polygon", "polyline", "points", "cuboid")]
    passed["shapes that are no boxes"] = len(shapes)
    return Found(
        rows_from(rows),
        unit="pixels",
        box_format="xyxy",
        first_frame=0 if read_as.first_frame is None else read_as.first_frame,
        passed_over=passed,
    )


Row = tuple[str, float, float, list[float], str, str, str]


def _of_tracks(
    root: ET.Element, path: Path, read_as: ReadAs, passed: Counter[str]
) -> Iterator[Row]:
    """The boxes of a file for video."""
    tracks = root.findall("track")
    if not tracks:
        return
    video = read_as.video or _source(root)
    if not video:
        raise DataError(
            f"{path}: does not say of which video it is (meta/task/source); name it: --video NAME."
        )
    for track in tracks:
        person = track.get("id", "")
        for box in track.findall("box"):
            where = f"{path}: track {person!r}, frame {box.get('frame')!r}"
            if box.get("outside") == "1":
                passed["boxes marked as outside"] += 1
                continue
            frame = float(whole(box.get("frame"), "frame", where))
            for label in _labels(box, track.get("label", ""), read_as, track):
                corners = box_of([box.get(side) for side in _SIDES], where)
                yield video, frame, float("nan"), corners, person, label, where


def _of_images(root: ET.Element, path: Path, read_as: ReadAs) -> Iterator[Row]:
    """The boxes of a file for images."""
    source = _source(root)
    for image in root.findall("image"):
        name = image.get("name", "")
        for box in image.findall("box"):
            where = f"{path}: image {name!r}"
            video, frame = picture_place(name, read_as, where, video=source)
            for label in _labels(box, box.get("label", ""), read_as):
                corners = box_of([box.get(side) for side in _SIDES], where)
                yield video, frame, float("nan"), corners, box.get("group_id", ""), label, where


def _source(root: ET.Element) -> str | None:
    """The video of a task, where it is of one."""
    texts = (found.text for place in _SOURCES for found in root.findall(place))
    return next((text.strip() for text in texts if text and text.strip()), None)


def _labels(
    box: ET.Element, own: str, read_as: ReadAs, track: ET.Element | None = None
) -> list[str]:
    """The label, or what the attribute says of the box, else of its track; "" for none."""
    wanted = read_as.label_attribute
    if wanted is None:
        return [own.strip()]
    for element in (box, track):
        if element is not None:
            texts = [a.text for a in element.findall("attribute") if a.get("name") == wanted]
            if found := [text.strip() for text in texts if text and text.strip()]:
                return found
    return [""]


FORMAT = Format(
    "cvat",
    "CVAT's XML 1.1, for video or for images",
    frozenset({"first_frame", "label_attribute", "picture_names", "video"}),
    _looks_like,
    _read,
)
