"""The one training loop, for all methods: from a split's training clips to weights.

A killed training resumes from its last checkpoint and ends with the same weights: the samples and
the learning rate of a step follow from the seed and the step alone, the rest is in the checkpoint.
A batch is the same for one process and for many, of which each computes a share (torchrun).
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig, TrainConfig
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.inputs.batch import Inputs, PersonSample, Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.label_semantics import exclusive_mask, targets_of
from stclip.methods.reading import make_reader
from stclip.progress import Progress
from stclip.records import Data, LabelSplit
from stclip.runtime.device import peak_memory, random_state, seed_everything
from stclip.runtime.precision import Used, autocast, computed_in, training_precision
from stclip.splits.label_splits import check_learnable
from stclip.train.processes import (
    all_rows,
    random_states,
    restore_random_states,
    shares,
    start_processes,
)
from stclip.train.resume import make_optimizer, read_checkpoint, write_checkpoint
from stclip.train.run_folder import backbone_hash, run_hash, training_identity, write_run

logger = logging.getLogger(__name__)
Track = Callable[[Sequence[Mapping[str, float]]], None]


@dataclass
class State:
    """How far a training is, and what it logged so far."""

    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def train(
    config: MethodConfig,
    data: Data,
    *,
    split: LabelSplit,
    seed: int,
    out: Path,
    workers: int = 0,
    version: int = 0,
    track: Track = lambda rows: None,
) -> None:
    """Train a method on the training clips of a split.

    Writes `config.yaml` (the resolved settings), `log.jsonl` (a line per step) and, last,
    `weights.safetensors` (the trained tensors; its metadata names the run and what it was computed
    in) into `out`. Stored
    features and objects of `data` are needed where the configuration says so. `version` is
    `stage_version.train`: a checkpoint of another one, or of other content of what is read, is not
    continued. `track` gets the lines of the log as they come, in the main process; first those of
    an interrupted try, or none.

    Raises:
        ConfigError: the method has nothing to train (see `write_untrained`), nothing can be
            learned, a label of either group does not fit the method, or a batch is too small for so
            many processes.
        DataError: no training clip. TrainingError: the loss is not finite.
    """
    check_learnable(split, config.exclusive_labels)
    seed_everything(seed)
    accelerator = start_processes()
    method, backbone = load_method(config).to(accelerator.device), backbone_hash(config)
    _check_names(method, config, split)
    precision = training_precision(config.train.precision, accelerator.device)
    begun = training_identity(
        config, data, split=split, seed=seed, version=version, precision=precision
    )
    checkpoint = out / "checkpoint.pt"
    reader = make_reader(method, config, data, kinds_of_boxes=["ground_truth"])
    state = _fit(
        method, config, accelerator, data, split=split,
        reader=reader.part(accelerator.num_processes), seed=seed, checkpoint=checkpoint,
        begun=begun, precision=precision, workers=workers,
        track=track if accelerator.is_main_process else lambda rows: None,
    )  # fmt: skip
    if accelerator.is_main_process:
        run = run_hash(config, split, seed)
        weights = method.trained_state()
        write_run(
            out, config, state.log, weights=weights, run=run, backbone=backbone,
            computed=computed_in(precision, accelerator.device),
        )  # fmt: skip
        checkpoint.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _check_names(method: Method, config: MethodConfig, split: LabelSplit) -> None:
    """Encode the labels of both groups: one that does not fit is told before, not after training.

    Raises:
        ConfigError: as `Method.encode_names`, with the split.
    """
    try:
        with torch.no_grad():
            method.encode_names([*split.base, *split.unseen], config)
    except ConfigError as error:
        raise ConfigError(f"{split.where}, method {config.name}: {error}") from None


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up from `warmup_factor`, then constant (`step` from 0).

    >>> c = TrainConfig(iterations=3000, lr=1.0, warmup_iterations=800, warmup_factor=0.25)
    >>> [learning_rate(c, step) for step in (0, 400, 800)]
    [0.25, 0.625, 1.0]
    """
    if step >= config.warmup_iterations:
        return config.lr
    along = step / config.warmup_iterations
    return config.lr * (config.warmup_factor * (1 - along) + along)


def plan_batches(
    samples: Sequence[Sample], config: TrainConfig, *, inputs: Inputs, seed: int
) -> list[list[Sample]]:
    """The samples of every step: a permutation per epoch, incomplete batches dropped.

    Each has a random number of its own. Where rows are boxes, a sample with more than `max_boxes`
    shows a random subset of them. A memory of visited frames holds those of earlier steps.
    """
    size = min(config.batch_frames, len(samples))
    batches: list[list[Sample]] = []
    epoch = 0
    while len(batches) < config.iterations:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(samples))
        draws = np.random.default_rng([seed, epoch, 1]).integers(2**62, size=len(samples))
        ends = len(samples) - size + 1
        for start in range(0, ends, size)[: config.iterations - len(batches)]:
            chosen = [replace(samples[i], draw=int(draws[i])) for i in order[start : start + size]]
            if inputs.row_per_box:
                chosen = [_at_most(s, config.max_boxes, rng) for s in chosen]
            batches.append(chosen)
        epoch += 1
    return _with_visited(batches) if inputs.memory_pool == "visited" else batches


def _with_visited(batches: Sequence[Sequence[Sample]]) -> list[list[Sample]]:
    """Every sample knows which frames of its clip were key frames of an earlier step."""
    visited: dict[str, frozenset[int]] = defaultdict(frozenset)
    found: list[list[Sample]] = []
    for batch in batches:
        key_frames = [s for s in batch if isinstance(s, PersonSample)]  # only they have a memory
        found.append([replace(s, pool=visited[s.clip]) for s in key_frames])
        for sample in key_frames:
            visited[sample.clip] |= {sample.key_frame}
    return found


def _at_most(sample: Sample, max_boxes: int, rng: np.random.Generator) -> Sample:
    if len(sample.rows) <= max_boxes:
        return sample
    kept = np.sort(rng.choice(len(sample.rows), max_boxes, replace=False))
    stored = sample.stored[kept] if len(sample.stored) else sample.stored
    boxes = sample.boxes_xyxy[kept]
    return replace(sample, rows=sample.rows[kept], boxes_xyxy=boxes, stored=stored)


def _fit(
    method: Method,
    settings: MethodConfig,
    accelerator: Accelerator,
    data: Data,
    *,
    split: LabelSplit,
    reader: FrameReader,
    seed: int,
    checkpoint: Path,
    begun: str,
    precision: Used,
    workers: int,
    track: Track,
) -> State:
    """Optimise the method in place; returns the finished state."""
    if not split.train_clips:
        raise DataError(f"{split.where} has no training clip.")
    config, device, per_box = settings.train, accelerator.device, method.inputs.row_per_box
    table = select_boxes(BoxSource(source="ground_truth"), data, names=split.train_clips)
    samples = make_samples(table, data.clips, inputs=method.inputs, objects=data.objects)
    if method.whole_batch_loss and min(config.batch_frames, len(samples)) == 1:
        raise ConfigError(
            f"{split.where}: {type(method).__name__} compares the clips of a batch, and a batch "
            f"holds one: train.batch_frames is {config.batch_frames}, of {len(samples)} training "
            "samples. Its loss would always be 0; at least two of each are needed."
        )
    targets = targets_of(table["actions"].tolist(), split.base, settings.exclusive_labels)
    exclusive = exclusive_mask(split.base, settings.exclusive_labels).to(device)  # (K,)
    encoded = method.encode_names(split.base, settings)
    groups = [group for group in method.parameter_groups() if len(group.parameters)]
    if not groups:
        raise ConfigError(
            f"method {type(method).__name__} has nothing to train; set train.iterations to 0."
        )
    optimizer = make_optimizer(
        [
            {
                "params": list(g.parameters),
                "weight_decay": config.weight_decay if g.weight_decay is None else g.weight_decay,
            }
            for g in groups
        ],
        config,
    )
    state = _resume(method, optimizer, accelerator, checkpoint, begun=begun, seed=seed)
    track(state.log)
    logger.info(
        "train: %d samples of %d clips, %d labels, %d trained parameters, steps %d to %d on "
        "%d x %s in %s",
        len(samples), len(split.train_clips), len(split.base),
        sum(p.numel() for g in groups for p in g.parameters), state.step, config.iterations,
        accelerator.num_processes, device.type, precision,
    )  # fmt: skip
    batches = plan_batches(samples, config, inputs=method.inputs, seed=seed)[state.step :]
    own_batches = shares(batches, accelerator)
    loader = make_loader(reader, method.inputs, own_batches, training=True, workers=workers)
    if config.compile:
        method.backbone.compile_blocks()
    network = accelerator.prepare(method)
    progress = Progress("train", total=config.iterations, done=state.step)
    network.train()
    began = time.perf_counter()
    for chosen, own, batch in zip(batches, own_batches, loader, strict=True):
        lr = learning_rate(config, state.step)
        for group, of_group in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = lr * of_group.lr_factor
        with autocast(precision, device):
            logits = network(batch.to(device), encoded)
        share = _num_rows(own, per_box=per_box) / _num_rows(chosen, per_box=per_box)
        # The gradient is averaged over the processes: scaled, it is that of the mean over all rows.
        scale = accelerator.num_processes * (1.0 if method.whole_batch_loss else share)
        if method.whole_batch_loss:
            logits, own = all_rows(logits, accelerator, total=len(chosen)), chosen
        own_loss = method.loss(
            logits.float(), _goal(targets, own, per_box=per_box).to(device), config=config,
            exclusive=exclusive, draws=_draws(own, per_box=per_box).to(device),
        )  # fmt: skip
        loss = accelerator.reduce(own_loss.detach() * share, "sum").item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {state.step} (learning rate {lr:.3g}) on the "
                f"clips {sorted({s.clip for s in chosen})}; no weights were written. Lower "
                "train.lr or lengthen train.warmup_iterations."
            )
        optimizer.zero_grad()
        (own_loss * scale).backward()
        optimizer.step()
        now = time.perf_counter()
        seconds, began = now - began, now  # reading of the batch included
        line = {"step": state.step, "loss": loss, "lr": lr, "seconds": round(seconds, 4)}
        line |= {"samples_per_s": round(len(chosen) / seconds, 2)} | peak_memory()
        state.log.append(line)
        track([line])
        state.step += 1
        progress.advance(loss=loss)
        if state.step % config.checkpoint_every == 0 and state.step < config.iterations:
            _save(method, optimizer, accelerator, state, checkpoint, begun=begun)
    return state


def _num_rows(samples: Sequence[Sample], *, per_box: bool) -> int:
    return sum(len(s.rows) for s in samples) if per_box else len(samples)


def _goal(targets: Tensor, samples: Sequence[Sample], *, per_box: bool) -> Tensor:
    """Target rows in the order of the logits' rows."""
    rows = [targets[torch.from_numpy(s.rows)] for s in samples]
    return torch.cat(rows if per_box else [r.amax(0, keepdim=True) for r in rows])


def _draws(samples: Sequence[Sample], *, per_box: bool) -> Tensor:
    """The random number of each row of logits."""
    draws = torch.tensor([s.draw for s in samples])
    if not per_box:
        return draws
    return draws.repeat_interleave(torch.tensor([len(s.rows) for s in samples]))


def _save(
    method: Method,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    state: State,
    path: Path,
    *,
    begun: str,
) -> None:
    """Write what does not follow from the seed and the step."""
    random = random_states(accelerator)
    if accelerator.is_main_process:
        content = {
            "step": state.step,
            "log": state.log,
            "weights": method.trained_state(),
            "optimizer": optimizer.state_dict(),
            "random": random,
        }
        write_checkpoint(path, content, begun=begun)


def _resume(
    method: Method,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    path: Path,
    *,
    begun: str,
    seed: int,
) -> State:
    """Continue from a checkpoint of the same identity, otherwise start anew."""
    content = read_checkpoint(path, begun=begun)
    if content is not None and "random" not in content:
        logger.info("%s was written by an older version; starting anew", path)
        content = None
    if content is None:
        state, random = State(), [random_state()]
    else:
        method.load_trained_state(content["weights"], where=str(path))
        optimizer.load_state_dict(content["optimizer"])
        state, random = State(step=content["step"], log=content["log"]), content["random"]
    restore_random_states(random, accelerator, seed=seed, step=state.step)
    return state
