"""The one scorer, for all methods: weights and boxes in, class probabilities out."""

import json
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
from stclip.inputs.batch import PersonSample, Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.label_semantics import exclusive_mask, probabilities
from stclip.methods.reading import make_reader
from stclip.progress import Progress
from stclip.records import LABEL_GROUPS, Clips, Data, Detections, LabelSplit, Scores
from stclip.runtime.device import best_device, seed_everything
from stclip.runtime.precision import autocast, computed_in, recorded, scoring_precision
from stclip.storage.tensors import read_metadata, read_tensors
from stclip.train.run_folder import backbone_hash, run_hash

logger = logging.getLogger(__name__)


def score(
    config: MethodConfig,
    data: Data,
    *,
    weights: Path,
    split: LabelSplit,
    sources: Mapping[str, BoxSource],
    together: bool = False,
    seed: int,
    out: Path,
    workers: int = 0,
) -> None:
    """Score each box source on the unseen and on the base test clips of a split.

    Writes `scores_{boxes}_{labels}.parquet` into `out`; their metadata say in which precision and
    on which device they, and the weights, were computed. Stored features and objects of `data` are
    needed where the configuration says so. Where labels are scored `together`, every box is scored
    for all labels of the split, and each file has the columns of its group.

    Raises:
        ConfigError: the weights are of another run or backbone. DataError: damaged weights, frames.
    """
    method = trained_method(config, weights=weights, split=split, seed=seed)
    if config.score.compile:
        method.backbone.compile_blocks()
    device, precision = best_device(), scoring_precision(config.score.precision)
    computed = {"score": computed_in(precision, device)}
    if trained := recorded(read_metadata(weights, stage="train")):
        computed = {"train": trained} | computed
    logger.info("score: computed in %s on %s", precision, computed["score"]["device"])
    kinds = list(dict.fromkeys(source.source for source in sources.values()))
    reader = make_reader(method, config, data, kinds_of_boxes=kinds)
    groups = [LABEL_GROUPS] if together else [(group,) for group in LABEL_GROUPS]
    for scored in groups:
        labels = [label for group in scored for label in split.labels(group)]
        names = split.test_clips(scored[0])  # where scored together, all groups have the same
        selected = {
            name: select_boxes(source, data, names=names) for name, source in sources.items()
        }
        with torch.inference_mode():
            encoded = method.encode_names(labels, config)
            text = method.text_features(encoded)
        every_source = (
            pd.concat(selected, names=["source"]).reset_index("source").reset_index(drop=True)
        )
        found = score_boxes(
            method, every_source, data.clips, text, num_labels=len(labels), reader=reader,
            config=config, objects=data.objects, workers=workers,
            exclusive=exclusive_mask(labels, config.exclusive_labels),
        )  # fmt: skip
        for name, table in selected.items():
            own = found[(every_source["source"] == name).to_numpy()]
            for group in scored:
                columns = [labels.index(label) for label in split.labels(group)]
                scores = Scores.from_parts(table, own[:, columns], split.labels(group))
                path = out / f"scores_{name}_{group}.parquet"
                scores.write(path, computed=json.dumps(computed))
                logger.info(
                    "score: %d %s boxes, %d %s labels", len(table), name, len(columns), group
                )


def trained_method(config: MethodConfig, *, weights: Path, split: LabelSplit, seed: int) -> Method:
    """The method of a run, on the best device, ready to score.

    Raises:
        ConfigError: the weights are of another run or backbone. DataError: they are damaged.
    """
    seed_everything(seed)
    method = load_method(config).to(best_device())
    run, backbone = run_hash(config, split, seed), backbone_hash(config)
    state = read_weights(weights, run=run, backbone=backbone)
    if config.train.iterations:  # else the seed alone makes the method what it is
        method.load_trained_state(state, where=str(weights))
    method.eval()
    method.prepare_scoring()
    return method


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
    shows_progress: bool = True,
) -> np.ndarray:
    """Class probabilities of every box of `table` (rows, K), in table order.

    `text` is what `Method.text_features` gave for the K labels. `exclusive` (K,) says which labels
    exclude each other; None means all. `shows_progress`: not where the table is a part of more.
    """
    found = np.zeros((len(table), num_labels), np.float32)
    samples = make_samples(
        table, clips, inputs=method.inputs, objects=objects, patience_s=config.patience_s,
        two_scores=config.two_scores,
    )  # fmt: skip
    if method.inputs.memory_pool == "visited":
        samples = _with_scored(samples)
    # The box sources of a frame side by side: what they share is computed once.
    samples.sort(key=lambda s: s.sort_key)
    size = config.score.batch_frames
    batches = [samples[i : i + size] for i in range(0, len(samples), size)]
    loader = make_loader(reader, method.inputs, batches, training=False, workers=workers)
    device, precision = best_device(), scoring_precision(config.score.precision)
    progress = Progress("score", total=len(samples)) if shows_progress else None
    for chosen, batch in zip(batches, loader, strict=True):
        with torch.inference_mode(), autocast(precision, device):
            logits = method.logits(batch.to(device), text)
        likely = probabilities(logits, exclusive)
        if likely.ndim == 3:  # views of the same sample
            likely = likely.mean(1)
        if not method.inputs.row_per_box:
            likely = likely[batch.box_sample]  # everyone in a sample gets its row
        rows = np.concatenate([s.rows for s in chosen])
        found[rows] = likely.cpu().numpy()
        if progress is not None:
            progress.advance(len(chosen))
    return found


def _with_scored(samples: list[Sample]) -> list[Sample]:
    """A memory of visited frames holds those of its clip that are scored, of the same source."""
    key_frames = [s for s in samples if isinstance(s, PersonSample)]  # only they have a memory
    scored: dict[tuple[str, str], set[int]] = defaultdict(set)
    for sample in key_frames:
        scored[sample.clip, sample.source].add(sample.key_frame)
    return [replace(s, pool=frozenset(scored[s.clip, s.source])) for s in key_frames]


def read_weights(path: Path, *, run: str, backbone: str | None = None) -> dict[str, torch.Tensor]:
    """Trained tensors of a run; `backbone` is that of now (`backbone_hash`), None to believe it.

    Raises:
        DataError: missing or damaged. ConfigError: of another run than the configuration says, or
            trained on other files of the backbone.
    """
    state, metadata = read_tensors(path, stage="train")
    found = metadata.get("run")
    if found != run:
        raise ConfigError(
            f"{path}: these weights are of run {found}, the configuration is run {run}: settings, "
            "the method's code, split or seed changed since. Run the train stage again or restore "
            "them."
        )
    if backbone is not None and metadata.get("backbone") != backbone:
        raise ConfigError(
            f"{path}: these weights were trained on other files of the backbone than those that "
            "are there now. Run the train stage again or restore the files."
        )
    return state
