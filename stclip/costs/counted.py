"""Operations of one sample of a method and of a detector's frame, counted on models of true size.

A method's products are not computed and its weights not drawn (`stclip.costs.shapes_only`): the
counter, that of Table 10 (`stclip.costs.measure`), looks at shapes. A detector is run, on random
weights, as it looks at as many boxes as it proposes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch

from stclip import config as c
from stclip.config.target import call_target, make_config, resolve_target
from stclip.costs.measure import VIDEO_FRAMES, VIDEO_SIZE, counting, drawn_batch
from stclip.costs.shapes_only import ShapesOnly
from stclip.errors import ConfigError
from stclip.inputs.batch import ClipBatch, Encoded, PersonBatch, Pictures, Pixels
from stclip.methods.build import load_method
from stclip.methods.layers.multiply_adds import tower_of


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Operations of a method's forward pass, and pictures it reads."""

    per_frame: bool  # a sample is a key frame, else a clip or a track
    train: int
    score: int
    text_step: int  # of the texts, in every training step
    text: int  # once per label list
    train_pictures: int
    score_pictures: int
    trained: int  # parameters


def counted_settings(config: c.MethodConfig) -> dict[str, Any]:
    """What the operations of a sample depend on: not how a method is called or trained."""
    named = {"name", "title", "order", "assumptions"}
    return config.model_dump(mode="json", exclude={*named, "train", "score"})


def count_sample(config: c.MethodConfig, labels: Sequence[str]) -> Sample:
    """Count a sample of a method with random weights: its middle frame, clip or track."""
    with ShapesOnly():  # type: ignore[no-untyped-call]
        return _count_sample(config, labels)


def _count_sample(config: c.MethodConfig, labels: Sequence[str]) -> Sample:
    random = config.backbone.model_copy(update={"weights": None})
    method = load_method(config.model_copy(update={"backbone": random})).eval()
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    method.requires_grad_(False)  # the counter stumbles over inputs that need a gradient
    with torch.inference_mode():
        with counting() as encoding:
            encoded = method.encode_names(labels, config)
        with counting() as of_step:
            text = method.text_features(encoded)
    counted: dict[bool, tuple[int, int]] = {}
    trained_on: list[torch.Tensor] = []
    for training in (True, False):
        batch = drawn_batch(method, [VIDEO_FRAMES // 2], training=training)
        seen, pictures = as_read(batch, config)
        parts = list(_tensors(seen))
        if trained_on and _equal(parts, trained_on):
            counted[training] = counted[True]
            continue
        trained_on = parts
        with counting() as of_sample, torch.inference_mode():
            method.logits(seen, text)
        counted[training] = of_sample.get_total_flops(), pictures
    return Sample(
        per_frame=method.inputs.unit == "person",
        train=counted[True][0], score=counted[False][0],
        text_step=of_step.get_total_flops(),
        text=encoding.get_total_flops() + of_step.get_total_flops(),
        train_pictures=counted[True][1], score_pictures=counted[False][1], trained=trained,
    )  # fmt: skip


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    """All that a batch holds."""
    if isinstance(batch, torch.Tensor):
        yield batch
    elif is_dataclass(batch):
        for part in fields(batch):
            yield from _tensors(getattr(batch, part.name))


def _equal(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def as_read(
    batch: PersonBatch | ClipBatch, config: c.MethodConfig
) -> tuple[PersonBatch | ClipBatch, int]:
    """The batch with stored features where the settings say so, and the pictures left to read."""

    def read(pictures: Pictures, kind: str) -> Pictures:
        if kind not in config.features:
            return pictures
        return Encoded(torch.zeros(len(pictures), tower_of(config.backbone.model).embed))

    batch = replace(batch, pictures=read(batch.pictures, "frames"))
    found = [batch.pictures]
    if isinstance(batch, PersonBatch):
        crops = read(batch.crops, "boxes")
        things = replace(batch.objects, pictures=read(batch.objects.pictures, "objects"))
        batch = replace(batch, crops=crops, objects=things)
        found += [crops, things.pictures]
    return batch, sum(len(pictures) for pictures in found if isinstance(pictures, Pixels))


def count_detector(name: str, settings: c.DetectorConfig) -> tuple[int, int]:
    """Operations of a frame, and parameters; none of boxes from a file.

    Raises:
        ConfigError: a detector that can only be built with its weights.
    """
    target = resolve_target(settings.target)
    own = make_config(target, settings.params, where=f"detector {name}")
    if not getattr(target, "needs_frames", True):
        return 0, 0
    if not hasattr(own, "builder"):
        raise ConfigError(f"detector {name}: only torchvision's can be counted beforehand.")
    model = call_target(
        own.builder, params=own.arguments, where=f"detector {name}: arguments"
    ).eval()
    with counting() as counter, torch.inference_mode():
        model([torch.rand(3, *VIDEO_SIZE)])
    return counter.get_total_flops(), sum(p.numel() for p in model.parameters())
