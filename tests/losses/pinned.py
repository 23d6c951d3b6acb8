"""The stage versions that recorded numbers belong to, so that neither changes without the other.

A number may move for two reasons that people see: a stage's version was raised, or the code of a
method of `baselines` changed, which counts by itself. Otherwise old results would stay beside new
ones, and nothing is recorded.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT

from stclip.config import load_method
from stclip.config.hashes import config_hash

FOLDER = Path(__file__).parent
LOSSES, METRICS = FOLDER / "losses.json", FOLDER / "metrics.json"
STAGES = {  # whose code makes these numbers; of `losses` the tests' world stands for the others
    LOSSES.name: ["train"],
    METRICS.name: [
        *("download", "render", "prepare", "splits", "detector", "detect"),
        *("features", "train", "score", "evaluate"),
    ],
}
RECORDED = FOLDER / "stage_versions.json"


def versions_now(name: str) -> dict[str, int]:
    """Of the stages that make the numbers of a file."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    return {stage: config["stage_version"][stage] for stage in STAGES[name]}


def code_now(method: str) -> str:
    """Changes with a method's own code, where that counts by itself."""
    if not (ROOT / "config" / "methods" / f"{method.partition('+')[0]}.yaml").exists():
        return ""  # a test's own
    sources = load_method(ROOT / "config", method, dataset="jhmdb", scale="mini").sources
    return config_hash(sources) if sources else ""


def record(
    path: Path,
    found: Mapping[str, Any],
    *,
    same: Callable[[Any, Any], bool],
    versions: Mapping[str, int],
    recorded: Path = RECORDED,
    code: Callable[[str], str] = code_now,
) -> None:
    """Write numbers by name, METHOD or METHOD/..., and what they belong to.

    Raises:
        SystemExit: numbers moved, but neither version nor code.
    """
    kept = json.loads(recorded.read_text("utf-8"))
    before = json.loads(path.read_text("utf-8"))
    of_then = kept.get(path.name, {"versions": {}, "code": {}})
    method_of = {name: name.partition("/")[0] for name in found}
    codes = {method: code(method) for method in sorted({*method_of.values()})}
    unexplained = [
        name
        for name in found
        if name in before
        and not same(before[name], found[name])
        and of_then["versions"] == dict(versions)
        and of_then["code"].get(method_of[name]) == codes[method_of[name]]
    ]
    if unexplained:
        raise SystemExit(
            f"{path.name}: numbers of {unexplained} moved, but the versions are still {versions}: "
            "raise stage_version of the stage in config/config.yaml first, so that what was made "
            "before is made again, or find out why they moved. Nothing was recorded."
        )
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    kept[path.name] = {"versions": dict(versions), "code": codes}
    recorded.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
