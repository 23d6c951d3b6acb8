"""Opens files that somebody else wrote (gzip, text, JSON, csv); errors say what is wrong with them.

Gzip is told by content, not by name. A byte order mark (BOM), as Windows programs write it, is no
part of a text. A field of a csv is text: `NA` is a name like any other, and numbers are read by
`stclip.storage.numbers`, which names the line.
"""

import codecs
import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.errors import DataError
from stclip.storage.files import unique_keys
from stclip.storage.restricted_pickle import load_pickle

_GZIP = b"\x1f\x8b"
_LINES = 1_000_000  # read at a time: as text a line takes ten times the memory of its numbers
_SURPLUS = "?"  # a column more than there may be


def content_of(path: Path) -> bytes:
    """A file's bytes, unzipped.

    Raises:
        DataError: missing, unreadable or damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    return unzipped(content, path)


def unzipped(content: bytes, where: str | Path) -> bytes:
    """`content`, unzipped if it is gzip; `where` is for messages.

    Raises:
        DataError: damaged or cut off.
    """
    try:
        return gzip.decompress(content) if content[:2] == _GZIP else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{where}: damaged gzip, or not the whole file ({error}); get it again."
        ) from None


def text_of(content: bytes, where: str | Path) -> str:
    """UTF-8 text without its byte order mark.

    Raises:
        DataError: it is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not UTF-8 text (byte {error.start} is {content[error.start]:#04x}); save it "
            "as UTF-8."
        ) from None


def is_json(content: bytes) -> bool:
    """Whether the bytes begin as a JSON object or list does; no pickle and no csv of ours does."""
    return content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def parse_json(content: bytes, where: str | Path) -> Any:
    """The value of a JSON text.

    Raises:
        DataError: it is no JSON.
    """
    try:
        return json.loads(text_of(content, where), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:  # of json, or of `unique_keys`
        raise DataError(f"{where}: not JSON ({error}); is the file whole?") from None


def parse_value(content: bytes, where: str | Path) -> Any:
    """The value of a JSON text or of a pickle of plain containers and arrays, gzip allowed.

    Raises:
        DataError: it is neither, or damaged.
    """
    content = unzipped(content, where)
    return parse_json(content, where) if is_json(content) else load_pickle(content, where)


def read_json_file(path: Path) -> Any:
    """`parse_json` of a file, gzip allowed."""
    return parse_json(content_of(path), path)


def csv_table(content: bytes, where: str | Path, *, columns: list[str]) -> pd.DataFrame:
    """All fields of a csv without header, as text; the index is the line number.

    Args:
        content: of the file.
        where: for messages.
        columns: their names; a line may have fewer fields (then ""), empty ones are left out.

    Raises:
        DataError: no csv, or a line with more fields than columns.
    """
    return pd.concat(_csv_parts(content, where, columns, header=False, lines=_LINES))


def csv_parts(
    content: bytes, where: str | Path, *, needed: list[str], lines: int = _LINES
) -> Iterator[pd.DataFrame]:
    """The columns `needed` of a csv with header, as text, in parts; the index is the line number.

    Args:
        content: of the file.
        where: for messages.
        needed: columns that must be there, in any order; others are left out.
        lines: of a part.

    Raises:
        DataError: no csv, a column that is missing or there twice, a line with more fields than
            the header.
    """
    header = text_of(content.split(b"\n", 1)[0], where).strip()
    columns = next(csv.reader([header]), [])
    must = f"its first line must name the columns {','.join(needed)}"
    if not any(columns):
        raise DataError(f"{where}: not a csv file (its first line is empty); {must}.")
    twice = sorted({name for name in needed if columns.count(name) > 1})
    if twice:
        raise DataError(f"{where}: line 1: columns {twice} are there twice; {must}, each once.")
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(f"{where}: columns {missing} are missing; found {columns}; {must}.")
    own = [name if name in needed else f"{n}:{name}" for n, name in enumerate(columns)]
    for part in _csv_parts(content, where, own, header=True, lines=lines):
        yield part[needed]


def _csv_parts(
    content: bytes, where: str | Path, columns: list[str], *, header: bool, lines: int
) -> Iterator[pd.DataFrame]:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        with pd.read_csv(
            io.BytesIO(content), header=None, names=[*columns, _SURPLUS], skiprows=int(header),
            index_col=False, skip_blank_lines=False, dtype="str", keep_default_na=False,
            chunksize=lines,
        ) as parts:  # fmt: skip
            while (part := _next(parts)) is not None:
                part.index += 1 + header
                longer = part.index[part[_SURPLUS].fillna("") != ""]
                if len(longer):
                    raise DataError(
                        f"{where}: line {longer[0]}: has more than {len(columns)} fields; "
                        f"{len(longer)} such lines."
                    )
                table = part[columns].fillna("")
                yield table[(table != "").any(axis=1)]
    except pd.errors.EmptyDataError:
        yield pd.DataFrame(columns=columns, dtype="str")
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        if found := re.search(r"in line (\d+), saw (\d+)", str(error)):
            raise DataError(
                f"{where}: line {found[1]}: has {found[2]} fields, more than {len(columns)}."
            ) from None
        raise DataError(f"{where}: not a csv file ({str(error).strip()}).") from None


def _next(parts: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """The next part. Pandas warns of lost fields; the extra column names their line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        return next(parts, None)
