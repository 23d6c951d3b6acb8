"""From a figure's settings and the files that its rule names to the picture, by kind of figure."""

import logging
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, DatasetConfig, MethodConfig, load_dataset, load_method
from stclip.config.figure import (
    WEIGHTS,
    Figure,
    InterestTokensFigure,
    LabelFeaturesFigure,
    UnannotatedFigure,
    VideoFigure,
    load_figure,
)
from stclip.errors import ConfigError, DataError
from stclip.evaluate.rules import assumptions_of, rules_of
from stclip.evaluate.voting import ASSUMPTIONS
from stclip.inputs.frame_reader import window
from stclip.inputs.preprocess import boxes_to_frame, patch_boxes
from stclip.methods.contract import Method
from stclip.records import BOX_COLUMNS, Data, LabelSplit, Scores
from stclip.report.interest_tokens_figure import (
    TokenPicture,
    most_helped,
    said_of,
    write_interest_tokens,
)
from stclip.report.label_features import SplitFeatures, write_label_features
from stclip.report.unannotated import costliest_frame, write_unannotated
from stclip.report.video_figure import shown_clips, write_video
from stclip.score.explain import explain_boxes
from stclip.score.score import trained_method

logger = logging.getLogger(__name__)
NOTE_WIDTH = 140  # characters of a line under a figure's title
VIDEO_NOTE_WIDTH = 110  # of a video's


@dataclass(frozen=True)
class ShownRun:
    """The folder of a run, and what it is of."""

    folder: Path
    split: LabelSplit
    method: MethodConfig


@dataclass(frozen=True)
class Shown:
    """What all kinds draw from."""

    about: DatasetConfig
    data: Data
    runs: Sequence[ShownRun]  # in the order of `Figure.runs`
    seed: int


def draw_figure(
    name: str,
    data: Data,
    *,
    folders: Sequence[Path],
    splits: Sequence[LabelSplit],
    out: Path,
    config: Path,
    scale: str,
) -> None:
    """Draw a figure of config/figures.

    Args:
        name: of the figure.
        data: prepared.
        folders: of its runs: those of a label split side by side, in the order of its methods.
        splits: of the same runs.
        out: the picture; its suffix is that of the kind.
        config: folder of the YAML files.
        scale: its name.

    Raises:
        ConfigError: settings that contradict one another, or other runs than it shows. DataError:
            a file is missing or damaged, or has nothing to show.
    """
    figure = load_figure(config, name, scale=scale)
    if out.suffix != f".{figure.suffix}":
        raise ConfigError(f"--out {out}: figure {name} is a .{figure.suffix}; call it so.")
    if len(folders) != len(splits) or not folders or len(folders) % len(figure.methods):
        raise ConfigError(
            f"figure {name} got {len(folders)} --run and {len(splits)} --split; give both for each "
            f"of the methods {figure.methods}, split by split."
        )
    methods = [
        load_method(config, method, dataset=figure.dataset, scale=scale)
        for method in figure.methods
    ] * (len(folders) // len(figure.methods))
    about = load_dataset(config, figure.dataset, scale=scale)
    runs = [ShownRun(*parts) for parts in zip(folders, splits, methods, strict=True)]
    shown = Shown(about=about, data=data, runs=runs, seed=figure.seed)
    DRAWERS[type(figure)](figure, shown, out)


def _unannotated(figure: UnannotatedFigure, shown: Shown, out: Path) -> None:
    (run,) = shown.runs
    scores = Scores.read(run.folder / f"scores_{figure.boxes}_unseen.parquet")
    frame, share = costliest_frame(
        scores,
        shown.data,
        clips=run.split.unseen_clips,
        protocol=rules_of(shown.about, shown.data.key_frames).frames,
    )
    lines = [
        f"{run.method.title}, split {run.split.name}, {figure.boxes} boxes of "
        f"{len(run.split.unseen)} unseen classes: {share:.1%} of {len(scores)} boxes lie apart "
        "from all annotated ones.",
        *textwrap.wrap(figure.note, NOTE_WIDTH),
    ]
    title = f"{figure.title} ({shown.about.title})"
    write_unannotated(out, frame, shown.data.frames, title=title, lines=lines)


def _video(figure: VideoFigure, shown: Shown, out: Path) -> None:
    (run,) = shown.runs
    assumption = assumptions_of(run.method.assumptions, shown.about)[0]
    scores = Scores.read(run.folder / f"scores_{figure.boxes}_unseen.parquet")
    clips = shown_clips(
        ASSUMPTIONS[assumption](scores),
        shown.data,
        clips=run.split.unseen_clips,
        protocol=rules_of(shown.about, shown.data.key_frames).frames,
        patience_s=shown.about.linking.patience_s,
        count=figure.clips,
    )
    title = f"{figure.title}: {run.method.title} on {shown.about.title}, split {run.split.name}"
    lines = textwrap.wrap(figure.note, VIDEO_NOTE_WIDTH)
    write_video(out, clips, shown.data.frames, title=title, lines=lines)


def _interest_tokens(figure: InterestTokensFigure, shown: Shown, out: Path) -> None:
    run, compared = shown.runs
    data, labels = shown.data, run.split.unseen
    table = select_boxes(shown.about.boxes[figure.boxes], data, names=run.split.unseen_clips)
    file = f"scores_{figure.boxes}_unseen.parquet"
    scores, of_all = (Scores.read(its.folder / file) for its in shown.runs)
    person = most_helped(scores, of_all, table, place=figure.place)
    clip, frame = str(table["clip"].iloc[person.row]), int(table["frame"].iloc[person.row])
    of_frame = table[(table["clip"] == clip) & (table["frame"] == frame)]
    number = of_frame.index.tolist().index(person.row)
    method = _trained(run, shown)
    explained = explain_boxes(method, of_frame, data, labels, config=run.method)
    of_clip = data.clips.table[data.clips.table["clip"] == clip]
    num_frames, height, width = of_clip[["num_frames", "height", "width"]].to_numpy(int)[0].tolist()
    tokens = explained.interest[number]
    boxes = of_frame[BOX_COLUMNS].to_numpy(np.float32)
    picture = TokenPicture(
        clip=clip,
        frame=frame,
        window=window(frame, num_frames, before=method.inputs.before, after=method.inputs.after),
        label=person.label,
        box=boxes[number],
        others=np.delete(boxes, number, 0),
        person=number,
        tokens=tokens,
        patches=boxes_to_frame(
            patch_boxes(method.backbone.image_size, method.backbone.grid),
            (height, width),
            method.backbone.image_size,
            run.method.preprocessing,
        ),
        said=[
            said_of(person, of_all, tokens=f"all tokens ({compared.method.title})"),
            said_of(person, scores, tokens=f"{len(tokens)} interest tokens ({run.method.title})"),
        ],
    )
    title = f"{figure.title} ({shown.about.title}, split {run.split.name})"
    lines = textwrap.wrap(figure.note, NOTE_WIDTH)
    write_interest_tokens(out, picture, data.frames, title=title, lines=lines)


def _label_features(figure: LabelFeaturesFigure, shown: Shown, out: Path) -> None:
    panels = []
    for run in shown.runs:
        source = BoxSource(source="ground_truth")
        table = select_boxes(source, shown.data, names=run.split.unseen_clips)
        if table.empty:
            raise DataError(f"{run.split.where}: nobody is annotated on key frames of its clips.")
        rng = np.random.default_rng(shown.seed)
        rows = np.sort(rng.permutation(len(table))[: figure.persons])
        keys = pd.MultiIndex.from_frame(table[["clip", "frame"]])
        beside = table[keys.isin(keys[rows])]  # persons of a frame see each other
        method = _trained(run, shown)
        explained = explain_boxes(method, beside, shown.data, run.split.unseen, config=run.method)
        prompted = explained.prompted[np.isin(beside.index, rows)]
        panels.append(SplitFeatures(run.split.name, run.split.unseen, explained.text, prompted))
        logger.info(
            "figure: split %s, %d of %d annotated persons of %d labels are shown",
            *(run.split.name, len(rows), len(table), len(run.split.unseen)),
        )
    title = f"{figure.title} ({shown.about.title}, {shown.runs[0].method.title})"
    note = (
        f"{figure.note} Persons: {figure.persons} annotated ones of each split's unseen test "
        f"clips, drawn by seed {shown.seed}, or all if there are fewer."
    )
    write_label_features(out, panels, title=title, note=note)


def _trained(run: ShownRun, shown: Shown) -> Method:
    """The method of a run."""
    return trained_method(
        run.method, weights=run.folder / WEIGHTS, split=run.split, seed=shown.seed
    )


DRAWERS: dict[type[Figure], Callable[[Any, Shown, Path], None]] = {
    UnannotatedFigure: _unannotated,
    InterestTokensFigure: _interest_tokens,
    LabelFeaturesFigure: _label_features,
    VideoFigure: _video,
}
