"""Tables on the disk: parquet files that notice a changed byte."""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from stclip.storage.files import whole_file
from stclip.storage.seal import SEAL, check_seal, sealed


def write_parquet(table: pd.DataFrame, path: Path, **metadata: str) -> None:
    """Write the columns, without the index, whole or not at all."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    buffer = io.BytesIO()
    about = {**arrow.schema.metadata, **metadata, **SEAL}
    parquet.write_table(arrow.replace_schema_metadata(about), buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(sealed(buffer.getvalue()))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read what `write_parquet` wrote.

    Raises:
        FileNotFoundError. DataError: damaged, or not written by `write_parquet`.
    """
    content = path.read_bytes()
    check_seal(content, path)
    return pd.read_parquet(io.BytesIO(content))


def read_parquet_metadata(path: Path) -> dict[str, str]:
    """What `write_parquet` was given beside the table, and what the format adds; as above."""
    content = path.read_bytes()
    check_seal(content, path)
    found = parquet.read_schema(io.BytesIO(content)).metadata
    return {name.decode(): value.decode() for name, value in found.items()}
