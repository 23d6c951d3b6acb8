"""Lists of files of one address pattern -> their downloads."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from stclip.config.download_models import Download, FileList
from stclip.config.names import check_once
from stclip.errors import ConfigError

_PLACE = "{name}"


def listed_files(
    lists: Sequence[FileList], folder: Path, params: Mapping[str, Any]
) -> dict[str, Download]:
    """File name -> its download, of all lists, but for those that a param leaves out.

    Args:
        lists: of a form of the data set.
        folder: in which the files with the names are.
        params: of that form, with those of the data set.

    Raises:
        ConfigError: a file of names is missing or names one twice, or what is no file; an address
            has no place for the name; or a name that is left out is not listed.
    """
    found: dict[str, Download] = {}
    for one in lists:
        path = folder / one.names
        names = listed_names(path)
        stems = {PurePosixPath(name).stem for name in names}
        gone = params.get(one.left_out_by, ()) if one.left_out_by else ()
        unknown = sorted(map(str, {*gone} - stems))
        if unknown:
            raise ConfigError(f"{one.left_out_by}: {path} does not list {unknown}; correct them.")
        urls = [one.url] if isinstance(one.url, str) else one.url
        if not all(_PLACE in url for url in urls):
            raise ConfigError(f"url {one.url!r} of the files in {path} has no place {_PLACE}.")
        for name in names:
            if PurePosixPath(name).stem not in gone:
                addresses = [url.replace(_PLACE, name) for url in urls]
                found[name] = Download(url=addresses, checksums=one.checksums)
    return found


def listed_names(path: Path) -> list[str]:
    """The file names in a list, one a line.

    Raises:
        ConfigError: it is missing, empty, or names a file twice, or what is no file.
    """
    try:
        lines = path.read_text("utf-8").split()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; it should list file names.") from None
    wrong = sorted(line for line in lines if "/" in line or line.startswith("."))
    if wrong or not lines:
        raise ConfigError(f"{path}: expected file names, one a line; found {wrong or 'nothing'}.")
    check_once(lines, what=str(path))
    return lines
