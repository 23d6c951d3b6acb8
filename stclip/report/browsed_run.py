"""A run's folder and its data set, read to look at single predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stclip.config import load_dataset, load_scale, pick
from stclip.config.resolved import as_resolved
from stclip.errors import DataError
from stclip.evaluate.evaluate import METRICS_FILE
from stclip.evaluate.protocol import Protocol
from stclip.evaluate.rules import rules_of, shown_boxes
from stclip.evaluate.run_ranking import JudgedRows, judge_rows
from stclip.records import LABEL_GROUPS, Boxes, Clips, Data, KeyFrames, LabelSplit, Scores
from stclip.runtime.provenance import split_sha256
from stclip.storage.files import read_json
from stclip.tables.aggregate import PROVENANCE

EXAMPLE = "runs/mini/jhmdb/st-clip/1/clip_frame/0"
MADE_BY = "config.yaml", "weights.safetensors"  # what a run has before it is scored
_SAME = 1e-6  # APs that differ by more are not of the same scores


@dataclass(frozen=True)
class Choice:
    """Which predictions of a run are looked at; None: what its tables show first."""

    boxes: str | None = None
    labels: str = "unseen"
    assumption: str | None = None


@dataclass(frozen=True)
class BrowsedRun:
    """A run, read and judged."""

    folder: Path
    about: Mapping[str, Any]  # metrics.json
    scale_title: str
    published: bool  # whether that scale is the paper's
    data_title: str
    boxes: str
    labels: str
    assumption: str
    data: Data
    protocol: Protocol
    judged: JudgedRows

    @property
    def name(self) -> str:
        """Method, split and seed."""
        return f"{self.about['title']}, split {self.about['split']}, seed {self.about['seed']}"

    @property
    def title(self) -> str:
        """What of which run is shown."""
        return (
            f"{self.name}: {self.labels} classes of {self.data_title} on {self.boxes} boxes, "
            f"{self.assumption}"
        )


def read_browsed(folder: Path, *, data: Path, config: Path, choice: Choice) -> BrowsedRun:
    """Read a run's scores and ground truth, and judge every row as `stclip evaluate` did.

    Args:
        folder: of the run.
        data: the folder of prepared data, in which `{scale}/{dataset}` lie.
        config: folder of the YAML files.
        choice: what of it.

    Raises:
        ConfigError: unknown boxes, labels or assumption.
        DataError: no run, not scored yet, no data, or metrics, split, data set and scores that are
            of different versions.
    """
    about = _about(folder)
    metrics = about["metrics"]
    boxes = choice.boxes or shown_boxes(metrics)
    assumption = choice.assumption or about["assumptions"][0]
    where = f"of {folder}"
    groups = pick(metrics, boxes, what=f"box source {where}")
    apart = {name: groups[name] for name in LABEL_GROUPS if name in groups}
    cells = pick(apart, choice.labels, what=f"label group {where}")
    cell = pick(cells, assumption, what=f"assumption {where}")

    dataset, scale = about["dataset"], about["scale"]
    settings = load_dataset(config, dataset, scale=scale)
    scale_settings = load_scale(config, scale)
    as_resolved(f"scale {scale}", scale_settings.shown)
    benchmark = settings.benchmark_of(about["family"])
    if about["benchmark"] != benchmark:
        raise DataError(
            f"{folder / METRICS_FILE}: of benchmark {about['benchmark']}, the settings of "
            f"{dataset} are of {benchmark}; score and evaluate this run again."
        )
    prepared = data / scale / dataset
    if not prepared.is_dir():
        raise DataError(
            f"{prepared}: no such folder; it holds the prepared data of {folder}. Run this where "
            "the workflow runs, or say with --data where the folder `data` is."
        )
    split = _split(prepared / "splits" / about["family"] / f"{about['split']}.json", about, folder)
    read = Data(
        clips=Clips.read(prepared / "clips.parquet"),
        boxes=Boxes.read(prepared / "boxes.parquet"),
        key_frames=KeyFrames.read(prepared / "key_frames.parquet"),
        frames=prepared / "frames",
    )
    rules = rules_of(settings, read.key_frames)
    judged = judge_rows(
        {
            group: Scores.read(folder / f"scores_{boxes}_{group}.parquet")
            for group in (LABEL_GROUPS if rules.together else (choice.labels,))
        },
        choice.labels,
        source=boxes,
        assumption=assumption,
        ground_truth=read.boxes,
        key_frames=read.key_frames,
        split=split,
        rules=rules,
    )
    name = f"{boxes}/{choice.labels}/{assumption}"
    _check_version(judged.result.ap, cell["AP"], folder, name)
    return BrowsedRun(
        folder=folder, about=about, scale_title=scale_settings.title,
        published=scale_settings.published, data_title=settings.title, boxes=boxes,
        labels=choice.labels, assumption=assumption, data=read, protocol=rules.frames,
        judged=judged,
    )  # fmt: skip


def _about(folder: Path) -> Mapping[str, Any]:
    """Its metrics.json."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give that of a run, such as {EXAMPLE}.")
    path = folder / METRICS_FILE
    if not path.exists():
        there = sorted(file.name for file in folder.iterdir())
        if {*MADE_BY} & {*there}:
            raise DataError(
                f"{folder}: a run that is not scored and evaluated yet: {METRICS_FILE} is missing. "
                f"Run `snakemake --cores 2 {path}`."
            )
        raise DataError(
            f"{folder}: no run: it has no {METRICS_FILE}, but {there[:5] or 'nothing'}; give the "
            f"folder of a run, such as {EXAMPLE}."
        )
    about = read_json(path)
    missing = [key for key in PROVENANCE if not isinstance(about, dict) or key not in about]
    if missing:
        raise DataError(f"{path}: lacks {missing}; run the evaluate stage again.")
    return about


def _split(path: Path, about: Mapping[str, Any], folder: Path) -> LabelSplit:
    split = LabelSplit.read(path)
    if split_sha256(split) != about["split_sha256"]:
        raise DataError(
            f"{path}: has other labels or clips than those that {folder} was evaluated on; run "
            "score and evaluate again, or bring back the data that it was made from."
        )
    return split


def _check_version(
    found: Mapping[str, float], noted: Mapping[str, float | None], folder: Path, cell: str
) -> None:
    """The APs of these scores are those in metrics.json."""
    for label in dict.fromkeys([*found, *noted]):
        now, then = found.get(label), noted.get(label)
        undefined = then is None and (now is None or np.isnan(now))
        if undefined and label in found and label in noted:
            continue
        if now is None or then is None or not abs(now - then) <= _SAME:
            raise DataError(
                f"{folder}: AP of {label!r} ({cell}) is {now} from its scores, {then} in "
                f"{METRICS_FILE}; scores, ground truth or settings have changed since. Run the "
                "evaluate stage again."
            )
