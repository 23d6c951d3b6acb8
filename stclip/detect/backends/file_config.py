"""The own settings of boxes from a file. Light: no torch here."""

from typing import Literal

from pydantic import Field

from stclip.config import Params


class FileDetectorConfig(Params):
    """How the files are to be read."""

    box_format: Literal["xyxy", "xywh"] = "xywh"
    """COCO's own is `xywh`; the authors' file holds corners, `xyxy`"""
    person: int = Field(default=1, ge=0)
    """category_id of persons; rows of others are ignored and counted"""
    objects: bool = False
    """the other way round: rows of every category but that of persons"""
    first_frame: int = Field(default=1, ge=0)
    """number of a clip's first frame in the list of images"""
