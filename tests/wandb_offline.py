"""Reads what W&B wrote offline (`run-{id}.wandb`); wandb itself has no reader in Python.

The file is a LevelDB log: blocks of 32 KiB of records, each a head of checksum (4 bytes), length
(2) and kind (1: whole, 2, 3, 4: first, middle, last part), then bytes of wandb's `Record`.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEAD, FILE_HEAD = 32768, 7, 7


@dataclass
class OfflineRun:
    path: Path
    about: dict[str, Any] = field(default_factory=dict)  # project, group, ...
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # W&B's own keys left out
    steps: list[int] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None  # None: it never ended

    @property
    def finished(self) -> bool:
        return (self.path / "finished").exists()


def read_runs(folder: Path) -> list[OfflineRun]:
    """All runs in W&B's folder, oldest first."""
    return [read_run(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))]


def read_run(path: Path) -> OfflineRun:
    run = OfflineRun(path.parent)
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            r = record.run
            run.about = {
                "id": r.run_id, "project": r.project, "group": r.run_group, "job": r.job_type,
                "name": r.display_name, "tags": list(r.tags), "host": r.host, "resume": r.resume,
            }  # fmt: skip
            run.config |= {i.key: json.loads(i.value_json) for i in r.config.update}
        elif kind == "history":
            row = _items(record.history.item)
            run.steps.append(row["_step"])
            run.history.append({k: v for k, v in row.items() if not k.startswith("_")})
        elif kind == "summary":
            found = _items(record.summary.update)
            run.summary |= {k: v for k, v in found.items() if not k.startswith("_")}
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _items(items: Any) -> dict[str, Any]:
    """Media are nested: their parts come as `picture.path`."""
    return {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}


def _records(content: bytes) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    position, parts = FILE_HEAD, b""
    while position + HEAD <= len(content):
        left = BLOCK - position % BLOCK
        _, length, kind = struct.unpack("<IHB", content[position : position + HEAD])
        if left < HEAD or (length, kind) == (0, 0):  # nothing more in this block
            position += left
            continue
        if position + HEAD + length > len(content):  # cut off by a kill or a full disk
            return
        parts += content[position + HEAD : position + HEAD + length]
        position += HEAD + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
