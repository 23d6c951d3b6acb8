"""Writes the settings of one's own data set: its YAML, and that of a table of its runs.

Both are files like any others: what they say can be edited afterwards, and every key is explained
in config/README.md.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from stclip.config.strict import Strict
from stclip.errors import ConfigError
from stclip.storage.files import whole_file


class NewDataset(Strict):
    """What a person says of it."""

    name: str
    title: str
    licence: str
    citation: str
    videos: str
    detector: str
    several_actions: bool
    table_boxes: str
    splits: list[str]

    @property
    def folder(self) -> Path:
        """Of the imported tables, and of nothing else: what changes in it prepares anew."""
        return Path("data", "own", self.name, "tables")

    def paths(self, config: Path) -> dict[str, Path]:
        """Where its files are: "dataset", "labels", "table"."""
        return {
            "dataset": config / "datasets" / f"{self.name}.yaml",
            "labels": config / "datasets" / f"{self.name}_labels.txt",
            "table": config / "tables" / f"{self.name}.yaml",
        }


def quoted(value: str) -> str:
    """Text as YAML reads it back, whatever is in it."""
    return json.dumps(value, ensure_ascii=False)


def dataset_yaml(new: NewDataset, labels: Path, *, target: str) -> str:
    """The data set's YAML."""
    several = new.several_actions
    semantics = (
        """exclusive_labels: [] # a person does several things at once: a sigmoid for each label
scored_labels: together # every box is scored for all labels of the split
voting: false"""
        if several
        else """exclusive_labels: null # a video shows one action: all labels share a softmax
scored_labels: apart # unseen labels on videos of unseen classes, base labels on the others
voting: true # so its boxes may vote"""
    )
    name = new.name
    return f"""# Made by `stclip data init`; edit what you like. Every key: config/README.md.
title: {quoted(new.title)}
benchmark: {quoted(_benchmark(name))} # with family of splits and version in metrics and tables
version: 1 # raise it when clips, boxes, key frames or metrics change their meaning
licence: {quoted(new.licence)}
citation: {quoted(new.citation)}
form: own
extracted: {quoted(str(new.folder))} # what `stclip data import {name}` writes
params:
  videos: {quoted(new.videos)}
  labels: {quoted(str(labels))}
  licence: {quoted(new.licence)}
  short_side: null # pixels that the shorter side of a stored frame has at most; null: as filmed
forms:
  own: {{ target: "{target}", archives: {{}} }}
frame_store: jpeg
test_split: test
key_frames: {{ rule: annotated }} # the frames with a box are scored and evaluated
label_text: spaced # underscores of a label become spaces before CLIP reads it
{semantics}
metrics: [{{ name: frame_map, protocol: {"tf" if several else "iclip"}, iou: [0.5] }}]
detector: {quoted(new.detector)} # a detector of the scale
boxes:
  detected: {{ source: detections, within: 0.7 }}
  gt: {{ source: ground_truth }}
family: own # of label splits: splits/{name}/own/
splits: [{", ".join(map(quoted, new.splits))}]
"""


def table_yaml(new: NewDataset) -> str:
    """The YAML of a main table of its runs."""
    assumptions = "independent" if new.several_actions else "independent, voted"
    starred = new.table_boxes == "detected"
    columns = "splits, avg, interval, base, H, "
    columns += "avg*, H*, seeds, scale, benchmark" if starred else "seeds, scale, benchmark"
    note = "Frame mAP@0.5 in percent of unseen labels"
    note += "; *: on ground-truth boxes." if starred else ", on ground-truth boxes."
    return f"""# snakemake --cores 8 results/{new.name}.csv --config 'datasets=[{new.name}]'
kind: main
title: {quoted(new.title)}
note: {quoted(note)}
of_paper: false
dataset: {quoted(new.name)}
boxes: {new.table_boxes}
starred: {"gt" if starred else "null"}
rows: all
assumptions: [{assumptions}]
columns: [{columns}]
"""


def write_new(texts: Mapping[Path, str]) -> None:
    """Write files that must not be there yet.

    Raises:
        ConfigError: one is; nothing is written then.
    """
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise ConfigError(
            f"{', '.join(there)}: there already. Edit them, delete them, or choose another name."
        )
    for path, text in texts.items():
        with whole_file(path) as temporary:
            temporary.write_text(text, "utf-8")


def _benchmark(name: str) -> str:
    """The name in small letters, digits and hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
