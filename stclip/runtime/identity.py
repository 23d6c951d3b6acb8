"""What a job computes from, in digests: an interrupted one goes on only where all is the same.

Snakemake decides which jobs run, by settings, notes and times; a checkpoint or a journal that an
interrupted job left knows nothing of them. So it carries the content of all that was read.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from stclip.config import BackboneConfig
from stclip.config.package_files import path_of
from stclip.errors import DataError
from stclip.records import Data
from stclip.storage.digests import content_of
from stclip.storage.frame_store import manifest


def backbone_content(config: BackboneConfig) -> dict[str, str]:
    """File of a backbone, as the settings name it -> digest.

    Raises:
        DataError: there is no such file.
    """
    return files_content({name: path_of(name) for name in config.files})


def files_content(files: Mapping[str, Path]) -> dict[str, str]:
    """Digests of files by their names.

    Raises:
        DataError: there is no such file.
    """
    found = {}
    for name, path in files.items():
        try:
            found[name] = content_of(path)
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such file; run the stage that makes it, or put it there."
            ) from None
    return found


def data_content(data: Data, clips: Iterable[str]) -> dict[str, str]:
    """Digests of the tables and stored features of `data`, and of the frames of these clips.

    Raises:
        DataError: a file is missing or damaged.
    """
    tables = {
        "clips": data.clips, "boxes": data.boxes, "key_frames": data.key_frames,
        "detections": data.detections, "objects": data.objects,
    }  # fmt: skip
    found = {name: t.content() for name, t in tables.items() if t is not None}
    features = {f"features of {kind}": path for kind, path in data.features.items()}
    return found | {"frames": manifest(data.frames, clips)} | files_content(features)
