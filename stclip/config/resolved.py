"""One resolved configuration for a rule and its job, though each reads the YAML files itself.

When the workflow is parsed it announces what it resolved, as hashes in an environment variable that
its jobs inherit, on a cluster too. A job that resolves something else says so and stops: it would
compute what neither Snakemake's notes nor its own rule say. Without an announcement, by hand,
nothing is compared.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from stclip.errors import ConfigError

RESOLVED = "STCLIP_RESOLVED"  # environment variable: JSON, see `announcement`
T = TypeVar("T", bound=BaseModel)


def announcement(records: Mapping[str, BaseModel], *, versions: Mapping[str, int]) -> str:
    """What a workflow resolved, by names that its jobs use too, and its `stage_version`.

    No character in it means anything to a shell that a cluster's scripts hand it to.
    """
    hashes = {_key(name): _hash(record) for name, record in records.items()}
    return json.dumps({"records": hashes, "stage_version": dict(versions)}, sort_keys=True)


def as_resolved(name: str, record: T) -> T:
    """The record, if the workflow that runs this job resolved the same, or none runs it.

    Raises:
        ConfigError: the workflow resolved another one.
    """
    expected = _announced().get("records", {}).get(_key(name))
    if expected is not None and expected != _hash(record):
        raise ConfigError(
            f"{name}: its settings, or code of your own that they name, changed since the workflow "
            "was parsed. Nothing was computed; run again."
        )
    return record


def stage_version(stage: str, content: Mapping[str, Any]) -> int:
    """The version of a stage's code that the workflow goes by, or `content`, config.yaml's."""
    versions = _announced().get("stage_version") or content.get("stage_version", {})
    return int(versions.get(stage, 0))


def _announced() -> dict[str, Any]:
    return json.loads(os.environ.get(RESOLVED) or "{}")


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _hash(record: BaseModel) -> str:
    content = [record.model_dump(mode="json"), getattr(record, "sources", {})]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
