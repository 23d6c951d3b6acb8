"""Fine-tunes a person detector on the ground truth of a split's training clips.

Unseen classes are never looked at. An epoch ends with a checkpoint; what happens in an epoch
follows from the seed and its number alone, so that a killed job ends with the same weights.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stclip.boxes.clipping import clip_to_picture
from stclip.config import DetectorConfig, FinetuneConfig
from stclip.config.hashes import config_hash, finetuning_settings
from stclip.config.target import make_config, resolve_target
from stclip.detect.backends.backend import Key, needed_file
from stclip.detect.backends.torchvision import TorchvisionDetector, as_tensor
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.inputs.feed import feed_frames
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.runtime.device import best_device, seed_everything
from stclip.runtime.identity import files_content
from stclip.storage.frame_store import manifest
from stclip.storage.tensors import read_metadata, write_tensors
from stclip.train.resume import make_optimizer, read_checkpoint, write_checkpoint

logger = logging.getLogger(__name__)


def finetune(
    settings: DetectorConfig,
    *,
    files: Mapping[str, Path],
    split: LabelSplit,
    clips: Clips,
    ground_truth: Boxes,
    frames: Path,
    out: Path,
    workers: int = 0,
    version: int = 0,
) -> None:
    """Train the detector on the training clips of a split; write its whole state dict.

    Args:
        settings: the detector; `settings.finetune` says how.
        files: what the detector reads; training begins at "weights".
        split: the label split with its clips filled in.
        clips: the data set's clips.
        ground_truth: its boxes, every one a person.
        frames: folder of the frame store.
        out: .safetensors; its metadata says which settings and clips made it.
        workers: processes that read frames ahead of the training.
        version: `stage_version.finetune`; a checkpoint of another one, or of other content of what
            is read, is not continued.

    Raises:
        ConfigError: the detector cannot be fine-tuned so.
        DataError: no box to train on, or a file is missing or damaged.
        TrainingError: the loss is not finite.
    """
    how = settings.finetune
    target = resolve_target(settings.target)
    if how is None:
        raise ConfigError(f"detector {settings.target} has no `finetune` section.")
    if not issubclass(target, TorchvisionDetector):
        raise ConfigError(
            f"detector {settings.target} cannot be fine-tuned; only {TorchvisionDetector.__name__} "
            "and its subclasses can."
        )
    weights = needed_file(files, "weights", settings=settings)
    truth = _truth(ground_truth, clips, split, stride=how.frame_stride)
    seed_everything(how.seed)
    own = make_config(target, settings.params, where=f"detector {settings.target}")
    model = target.build_model(own, settings, weights).to(best_device())
    trained = _thaw(model, how)
    run = finetune_hash(settings, split)
    read = {
        "files": files_content(files),
        "clips": clips.content(),
        "boxes": ground_truth.content(),
        "frames": manifest(frames, split.train_clips),
        "version": version,
    }
    begun = config_hash({"run": run}, read)
    checkpoint = out.with_name(f".{out.name}.checkpoint.pt")
    optimizer = make_optimizer(trained, how)
    first = _resume(model, optimizer, checkpoint, begun=begun)
    logger.info(
        "finetune: %d boxes on %d frames of %d training clips, %d trained parameters, epochs %d to "
        "%d on %s",
        sum(map(len, truth.values())), len(truth), len(split.train_clips),
        sum(p.numel() for p in trained), first, how.epochs, best_device(),
    )  # fmt: skip
    steps = math.ceil(len(truth) / how.batch_frames)
    progress = Progress("finetune", total=steps * how.epochs, done=steps * first)
    for epoch in range(first, how.epochs):
        seed_everything(how.seed + epoch)  # the model draws proposals at random
        plan = _plan(truth, how, epoch=epoch)
        pictures = feed_frames(frames, [[k for k, _ in b] for b in plan], workers=workers)
        mean_loss = _epoch(
            model, optimizer, plan, pictures, truth, how, epoch=epoch, person=own.person,
            progress=progress,
        )  # fmt: skip
        logger.info("finetune: epoch %d of %d, mean loss %.4f", epoch + 1, how.epochs, mean_loss)
        if epoch + 1 < how.epochs:
            _save(model, optimizer, checkpoint, begun=begun, epochs=epoch + 1)
    state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_tensors(out, state, run=run)
    checkpoint.unlink(missing_ok=True)


def finetune_hash(settings: DetectorConfig, split: LabelSplit) -> str:
    """16 hex digits of settings and code that move the weights, and of the clips trained on."""
    return config_hash(finetuning_settings(settings), {"clips": list(split.train_clips)})


def check_finetuned(path: Path, settings: DetectorConfig, split: LabelSplit) -> None:
    """Weights must be of these settings and this split.

    Raises:
        DataError: missing or damaged. ConfigError: made for something else.
    """
    found = read_metadata(path, stage="finetune").get("run")
    if found != finetune_hash(settings, split):
        raise ConfigError(
            f"{path}: fine-tuned by other settings or on another split than "
            f"{split.where} (run {found}). Run the finetune stage again or restore the settings."
        )


def learning_rate(how: FinetuneConfig, step: int, *, steps: int) -> float:
    """Linear from 0 over `warmup_steps`, then a half cosine to 0 at `steps` (`step` from 0).

    >>> how = FinetuneConfig(epochs=1, lr=1.0, warmup_steps=4)
    >>> [round(learning_rate(how, step, steps=12), 3) for step in (0, 3, 4, 8, 11)]
    [0.25, 1.0, 1.0, 0.5, 0.038]
    """
    if step < how.warmup_steps:
        return how.lr * (step + 1) / how.warmup_steps
    along = (step - how.warmup_steps) / max(1, steps - how.warmup_steps)
    return how.lr * (1 + math.cos(math.pi * along)) / 2


def _truth(
    ground_truth: Boxes, clips: Clips, split: LabelSplit, *, stride: int
) -> dict[Key, np.ndarray]:
    """Boxes (n, 4) by clip and frame; those without area inside the picture teach nothing."""
    unknown = set(split.train_clips) - set(clips.table["clip"])
    if unknown:
        raise DataError(f"training clip {min(unknown)!r} is not listed in clips.parquet.")
    table = ground_truth.table
    table = table[table["clip"].isin(set(split.train_clips)) & (table["frame"] % stride == 0)]
    inside = clip_to_picture(table, clips)
    if len(table) > len(inside):
        dropped = len(table) - len(inside)
        logger.info("finetune: read %d boxes, dropped %d without area", len(table), dropped)
    if inside.empty:
        raise DataError(
            f"{split.where}: no ground-truth box on every {stride}. frame "
            f"of its {len(split.train_clips)} training clips."
        )
    boxes = inside[BOX_COLUMNS].to_numpy(np.float32)
    groups = inside.groupby(["clip", "frame"], sort=False).indices
    return {
        (str(key[0]), int(key[1])): boxes[rows]
        for key, rows in groups.items()
        if isinstance(key, tuple)
    }


def _thaw(model: nn.Module, how: FinetuneConfig) -> list[nn.Parameter]:
    """Freeze what `how` names; returns what is trained."""
    for part in how.frozen:
        names = [n for n, _ in model.named_parameters() if n == part or n.startswith(f"{part}.")]
        if not names:
            raise ConfigError(f"finetune.frozen: {type(model).__name__} has no part {part!r}.")
        for name in names:
            model.get_parameter(name).requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConfigError("finetune.frozen leaves nothing to train.")
    return trained


def _plan(
    truth: Mapping[Key, np.ndarray], how: FinetuneConfig, *, epoch: int
) -> list[list[tuple[Key, bool]]]:
    """The batches of an epoch: every frame once, in an order of its own, and whether mirrored."""
    rng = np.random.default_rng([how.seed, epoch])
    keys = list(truth)
    order = rng.permutation(len(keys))
    mirrored = (rng.random(len(keys)) < 0.5) & how.flip
    examples = [(keys[i], bool(m)) for i, m in zip(order, mirrored, strict=True)]
    size = how.batch_frames
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Sequence[Sequence[tuple[Key, bool]]],
    pictures: Iterable[Sequence[np.ndarray]],
    truth: Mapping[Key, np.ndarray],
    how: FinetuneConfig,
    *,
    epoch: int,
    person: int,
    progress: Progress,
) -> float:
    """Train on the batches of `plan`; returns the mean loss."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # batches are small and of few clips: their statistics would mislead
    total = 0.0
    for number, (chosen, seen) in enumerate(zip(plan, pictures, strict=True)):
        step = epoch * len(plan) + number
        lr = learning_rate(how, step, steps=how.epochs * len(plan))
        for group in optimizer.param_groups:
            group["lr"] = lr
        examples = [
            _example(picture, truth[key], mirror=mirror, person=person)
            for (key, mirror), picture in zip(chosen, seen, strict=True)
        ]
        losses = model([picture for picture, _ in examples], [goal for _, goal in examples])
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"finetune: the loss is {loss.item()} at step {step} (learning rate {lr:.3g}); no "
                "weights were written. Lower finetune.lr or raise finetune.warmup_steps."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        progress.advance(loss=loss.item())
    return total / len(plan)


def _example(
    picture: np.ndarray, boxes: np.ndarray, *, mirror: bool, person: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """A frame and its persons in torchvision's form."""
    if mirror:
        last = picture.shape[1] - 1  # corners are pixels
        picture = np.ascontiguousarray(picture[:, ::-1])
        boxes = np.stack([last - boxes[:, 2], boxes[:, 1], last - boxes[:, 0], boxes[:, 3]], axis=1)
    device = best_device()
    labels = torch.full((len(boxes),), person, dtype=torch.int64)
    goal = {"boxes": torch.from_numpy(boxes).float().to(device), "labels": labels.to(device)}
    return as_tensor(picture, device), goal


def _save(
    model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, *, begun: str, epochs: int
) -> None:
    content = {
        "epochs": epochs,
        "weights": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_checkpoint(path, content, begun=begun)


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, *, begun: str) -> int:
    """Load a checkpoint of the same settings and weights; the epochs it has behind it, or 0."""
    content = read_checkpoint(path, begun=begun)
    if content is None:
        return 0
    model.load_state_dict(content["weights"])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["epochs"])
