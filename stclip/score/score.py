"""The one scorer, for all methods: weights and boxes in, class probabilities out."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig
from stclip.errors import ConfigError
from stclip.inputs.batch import Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.label_semantics import exclusive_mask, label_texts, probabilities
from stclip.methods.reading import make_reader
from stclip.progress import Progress
from stclip.records import LABEL_GROUPS, Boxes, Clips, Detections, LabelSplit, Scores
from stclip.runtime.device import best_device, seed_everything
from stclip.storage.tensors import read_tensors
from stclip.train.run_folder import run_hash

logger = logging.getLogger(__name__)


def score(
    config: MethodConfig,
    *,
    weights: Path,
    split: LabelSplit,
    clips: Clips,
    ground_truth: Boxes,
    detections: Detections,
    sources: Mapping[str, BoxSource],
    key_frame_stride: int,
    frames: Path,
    features: Mapping[str, Path] | None = None,
    objects: Detections | None = None,
    seed: int,
    out: Path,
    workers: int = 0,
) -> None:
    """Score each box source on the unseen and on the base test clips of a split.

    Writes `scores_{boxes}_{labels}.parquet` into `out`. `features` (files of the
    features stage: "frames", "ground_truth", "detections", "objects") and `objects` are needed
    where the configuration says that they are read.

    Raises:
        ConfigError: the weights are of another configuration. DataError: damaged weights, frames.
    """
    seed_everything(seed)
    method = load_method(config).to(best_device())
    state = read_weights(weights, run=run_hash(config, split, seed))
    if config.train.iterations:  # else the seed alone makes the method what it is
        method.load_trained_state(state, where=str(weights))
    method.eval()
    method.prepare_scoring()
    if config.score.compile:
        method.backbone.compile_blocks()
    tables = {"ground_truth": ground_truth.table, "detections": detections.table}
    tables = {s.source: tables[s.source] for s in sources.values()}
    if objects is not None:
        tables["objects"] = objects.table
    reader = make_reader(
        method, config, clips=clips, frames=frames, features=features or {}, tables=tables
    )
    for group in LABEL_GROUPS:
        labels = split.labels(group)
        selected = {
            name: select_boxes(
                source, ground_truth=ground_truth, detections=detections, clips=clips,
                names=split.test_clips(group), key_frame_stride=key_frame_stride,
            )
            for name, source in sources.items()
        }  # fmt: skip
        with torch.inference_mode():
            encoded = method.encode_labels(label_texts(labels, form=config.label_text))
            text = method.text_features(encoded)
        together = (
            pd.concat(selected, names=["source"]).reset_index("source").reset_index(drop=True)
        )
        found = score_boxes(
            method, together, clips, text, num_labels=len(labels), reader=reader, config=config,
            objects=objects, workers=workers,
            exclusive=exclusive_mask(labels, config.exclusive_labels),
        )  # fmt: skip
        for name, table in selected.items():
            own = found[(together["source"] == name).to_numpy()]
            scores = Scores.from_parts(table, own, labels)
            scores.write(out / f"scores_{name}_{group}.parquet")
            logger.info("score: %d %s boxes, %d %s labels", len(table), name, len(labels), group)


def score_boxes(
    method: Method,
    table: pd.DataFrame,
    clips: Clips,
    text: Any,
    *,
    num_labels: int,
    reader: FrameReader,
    config: MethodConfig,
    objects: Detections | None = None,
    workers: int = 0,
    exclusive: torch.Tensor | None = None,
) -> np.ndarray:
    """Class probabilities of every box of `table` (rows, K), in table order.

    `text` is what `Method.text_features` gave for the K labels. `exclusive` (K,) says which labels
    exclude each other; None means all.
    """
    found = np.zeros((len(table), num_labels), np.float32)
    samples = make_samples(table, clips, inputs=method.inputs, objects=objects)
    if method.inputs.memory_pool == "visited":
        samples = _with_scored(samples)
    # The box sources of a frame side by side: what they share is computed once.
    samples.sort(key=lambda s: (s.clip, s.key_frame))
    size = config.score.batch_frames
    batches = [samples[i : i + size] for i in range(0, len(samples), size)]
    loader = make_loader(reader, method.inputs, batches, workers=workers)
    device, bf16 = best_device(), config.score.precision == "bf16"
    progress = Progress("score", total=len(samples))
    for chosen, batch in zip(batches, loader, strict=True):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = method.logits(batch.to(device), text)
        likely = probabilities(logits, exclusive)
        if likely.ndim == 3:  # views of the same sample
            likely = likely.mean(1)
        if not method.inputs.row_per_box:
            likely = likely[batch.box_sample]  # everyone in a sample gets its row
        rows = np.concatenate([s.rows for s in chosen])
        found[rows] = likely.cpu().numpy()
        progress.advance(len(chosen))
    return found


def _with_scored(samples: list[Sample]) -> list[Sample]:
    """A memory of visited frames holds those of its clip that are scored, of the same source."""
    scored: dict[tuple[str, str], set[int]] = defaultdict(set)
    for sample in samples:
        scored[sample.clip, sample.source].add(sample.key_frame)
    return [replace(s, pool=frozenset(scored[s.clip, s.source])) for s in samples]


def read_weights(path: Path, *, run: str) -> dict[str, torch.Tensor]:
    """Trained tensors of a run.

    Raises:
        DataError: missing or damaged. ConfigError: of another run than the configuration says.
    """
    state, metadata = read_tensors(path, stage="train")
    found = metadata.get("run")
    if found != run:
        raise ConfigError(
            f"{path}: these weights are of run {found}, the configuration is run {run}: settings, "
            "split or seed changed since. Run the train stage again or restore the settings."
        )
    return state
