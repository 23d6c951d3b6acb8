"""The one training loop, for all methods: from a split's training clips to weights.

A killed training resumes from its last checkpoint and ends with the same weights: the samples of a
step follow from the seed and the step alone.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as serialize
from torch import Tensor

from stclip.boxes import make_samples, select_boxes
from stclip.checkpoint import make_optimizer, read_checkpoint, write_checkpoint
from stclip.config import (
    BoxSource,
    MethodConfig,
    TrainConfig,
)
from stclip.device import best_device, seed_everything
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.frames import BatchLoader, FrameReader, Sample
from stclip.method import Method, load_method
from stclip.progress import Progress
from stclip.records import Boxes, Clips, LabelSplit
from stclip.runs import run_hash, write_run
from stclip.semantics import classification_loss, exclusive_mask, label_texts, targets_of

logger = logging.getLogger(__name__)


@dataclass
class State:
    """How far a training is, and what it logged so far."""

    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def train(
    config: MethodConfig,
    *,
    split: LabelSplit,
    clips: Clips,
    ground_truth: Boxes,
    frames: Path,
    seed: int,
    out: Path,
    workers: int = 0,
) -> None:
    """Train a method on the training clips of a split.

    Writes `config.yaml` (the resolved settings), `log.jsonl` (a line per step) and, last,
    `weights.safetensors` (the trained tensors; its metadata names the run) into `out`.

    Raises:
        ConfigError: the method has nothing to train (see `stclip.runs.write_untrained`).
        DataError: no training clip. TrainingError: the loss is not finite.
    """
    seed_everything(seed)
    method = load_method(config).to(best_device())
    run = run_hash(config, split, seed)
    checkpoint = out / "checkpoint.pt"
    state = _fit(
        method, config.train, label_text=config.label_text,
        exclusive_labels=config.exclusive_labels, split=split, clips=clips,
        ground_truth=ground_truth, frames=frames, seed=seed, checkpoint=checkpoint, run=run,
        workers=workers,
    )  # fmt: skip
    weights = serialize(method.trained_state(), metadata={"run": run})
    resolved = config.model_copy(update={"params": asdict(method.config)})
    write_run(out, resolved, state.log, weights=weights)
    checkpoint.unlink(missing_ok=True)


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
    samples: Sequence[Sample], config: TrainConfig, *, seed: int
) -> list[list[Sample]]:
    """The samples of every step: a permutation per epoch, incomplete batches dropped.

    A sample with more than `max_boxes` boxes shows a random subset of them.
    """
    size = min(config.batch_frames, len(samples))
    batches: list[list[Sample]] = []
    epoch = 0
    while len(batches) < config.iterations:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(samples))
        for start in range(0, len(samples) - size + 1, size):
            chosen = [samples[i] for i in order[start : start + size]]
            batches.append([_at_most(s, config.max_boxes, rng) for s in chosen])
        epoch += 1
    return batches[: config.iterations]


def _at_most(sample: Sample, max_boxes: int, rng: np.random.Generator) -> Sample:
    if len(sample.rows) <= max_boxes:
        return sample
    kept = np.sort(rng.choice(len(sample.rows), max_boxes, replace=False))
    return replace(sample, rows=sample.rows[kept], boxes_xyxy=sample.boxes_xyxy[kept])


def _fit(
    method: Method,
    config: TrainConfig,
    *,
    label_text: str,
    exclusive_labels: list[str] | None,
    split: LabelSplit,
    clips: Clips,
    ground_truth: Boxes,
    frames: Path,
    seed: int,
    checkpoint: Path,
    run: str,
    workers: int,
) -> State:
    """Optimise the method in place; returns the finished state."""
    if not split.train_clips:
        raise DataError(f"split {split.name} of {split.dataset} has no training clip.")
    device = best_device()
    table = select_boxes(
        BoxSource(source="ground_truth"), ground_truth=ground_truth, detections=None,
        clips=clips, names=split.train_clips,
    )  # fmt: skip
    samples = make_samples(table, clips, unit=method.inputs.unit)
    targets = targets_of(table["actions"].tolist(), split.base, exclusive_labels)  # (rows, K)
    exclusive = exclusive_mask(split.base, exclusive_labels)
    text = method.encode_labels(label_texts(split.base, form=label_text))
    parameters = [p for p in method.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError(
            f"method {type(method).__name__} has nothing to train; set train.iterations to 0."
        )
    optimizer = make_optimizer(parameters, config)
    state = _resume(method, optimizer, checkpoint, run=run)
    logger.info(
        "train: %d samples of %d clips, %d labels, %d trained parameters, steps %d to %d on %s",
        len(samples), len(split.train_clips), len(split.base),
        sum(p.numel() for p in parameters), state.step, config.iterations, device,
    )  # fmt: skip
    batches = plan_batches(samples, config, seed=seed)[state.step :]
    reader = FrameReader(frames, method.backbone.image_size)
    loader = torch.utils.data.DataLoader(
        BatchLoader(reader, method.inputs, batches), batch_size=None, num_workers=workers
    )
    progress = Progress("train", total=config.iterations, done=state.step)
    method.train()
    for chosen, batch in zip(batches, loader, strict=True):
        began = time.perf_counter()
        lr = learning_rate(config, state.step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        bf16 = config.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = method(batch.to(device), text)
        goal = _goal(targets, chosen, unit=method.inputs.unit).to(device)
        loss = classification_loss(
            logits, goal, kind=config.loss, gamma=config.focal_gamma, exclusive=exclusive
        )
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is {loss.item()} at step {state.step} (learning rate {lr:.3g}) on the "
                f"clips {sorted({s.clip for s in chosen})}; no weights were written. Lower "
                "train.lr or lengthen train.warmup_iterations."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds = round(time.perf_counter() - began, 4)
        state.log.append({"step": state.step, "loss": loss.item(), "lr": lr, "seconds": seconds})
        state.step += 1
        progress.advance(loss=loss.item())
        if state.step % config.checkpoint_every == 0 and state.step < config.iterations:
            _save(method, optimizer, state, checkpoint, run=run)
    return state


def _goal(targets: Tensor, samples: Sequence[Sample], *, unit: str) -> Tensor:
    """Target rows in the order of the logits' rows."""
    rows = [targets[torch.from_numpy(s.rows)] for s in samples]
    return torch.cat(rows if unit == "person" else [r.amax(0, keepdim=True) for r in rows])


def _save(
    method: Method, optimizer: torch.optim.Optimizer, state: State, path: Path, *, run: str
) -> None:
    content = {
        "step": state.step,
        "log": state.log,
        "weights": method.trained_state(),
        "optimizer": optimizer.state_dict(),
    }
    write_checkpoint(path, content, run=run)


def _resume(method: Method, optimizer: torch.optim.Optimizer, path: Path, *, run: str) -> State:
    """Continue from a checkpoint of the same run, otherwise start anew."""
    content = read_checkpoint(path, run=run)
    if content is None:
        return State()
    method.load_trained_state(content["weights"], where=str(path))
    optimizer.load_state_dict(content["optimizer"])
    return State(step=content["step"], log=content["log"])
