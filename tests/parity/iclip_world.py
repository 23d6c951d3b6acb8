"""Small random iCLIPs, their official names, and key frames of several clips for them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from iclip_reference import (
    Slotted,
    chosen_objects,
    interact,
    memory_steps,
    person_logits,
)
from small_clip import (
    EMBED,
    LABELS,
    LENGTHS,
    SETTINGS,
    SIZE,
    Scene,
    double_precision,
    shaken,
    small_backbone,
)
from st_clip_reference import Weights, encode_picture, encode_text
from torch import Tensor

from baselines.iclip import ICLIP
from stclip.inputs.batch import PersonBatch, PersonSample, SampleObjects
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble

CLIP = "text_feature_generator.clipmodel."
PREFIX = "roi_heads.action."

# Our names -> names in the official checkpoint, without its prefix.
NAMES = [
    (r"^backbone\.clip\.", CLIP),
    (r"^interaction\.units\.([POHM])(\d)\.pos_(.)$",
     r"feature_extractor.iCLIP_structure.\1_block_\2.temporal_position_\3"),
    (r"^interaction\.units\.([POHM])(\d)\.", r"feature_extractor.iCLIP_structure.\1_block_\2."),
    (r"^prompting\.norm_visual\.", "prompts_generator.norm."),
    (r"^prompting\.alpha$", "prompts_generator.alpha"),
    (r"^prompting\.layers\.(\d)\.norm_text\.", r"prompts_generator.decoder.\1.norm1."),
    (r"^prompting\.layers\.(\d)\.norm_mlp\.", r"prompts_generator.decoder.\1.norm3."),
    (r"^prompting\.layers\.(\d)\.attention\.", r"prompts_generator.decoder.\1.cross_attn."),
    (r"^prompting\.layers\.(\d)\.mlp\.0\.", r"prompts_generator.decoder.\1.mlp.0."),
    (r"^prompting\.layers\.(\d)\.mlp\.2\.", r"prompts_generator.decoder.\1.mlp.3."),
]  # fmt: skip


def official_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def official_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Of one of our tensors, by its official name."""
    if "temporal_position" in name:
        return (shape[0], 1, shape[1], 1, 1, 1)
    if "iCLIP_structure" in name and name.endswith("weight"):
        return (*shape, 1, 1, 1)
    return tuple(shape)


def official_weights(method: ICLIP) -> dict[str, Tensor]:
    """The weights as iCLIP's training code saves them, each a leaf of its own; no prefix."""
    found = {}
    for name, p in method.named_parameters():
        theirs = official_name(name)
        tensor = p.detach().clone().view(official_shape(theirs, p.shape))
        found[theirs] = tensor.requires_grad_(p.requires_grad)
    return found


def idle(name: str) -> bool:
    """What no score depends on: the softmax drops it, or is of a single key."""
    parts = ("key.bias", "norm_text.weight", "norm_text.bias", "q_proj.weight", "k_proj.weight")
    return name.endswith(parts)


def small_method(*, seed: int = 7, perturbed: bool = True, **params: Any) -> ICLIP:
    """On a small random CLIP, float64; `perturbed`: nothing stays at a value that hides."""
    torch.manual_seed(seed)
    with double_precision():
        method = ICLIP(small_backbone(), ICLIP.Config(**params)).double()
    if perturbed:
        shaken(method)
    return method.eval()


def objects_of(boxes: Sequence[Sequence[float]]) -> SampleObjects:
    count = len(boxes)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32) if count else np.zeros(0, np.float32)
    return SampleObjects(np.array(boxes, np.float32).reshape(-1, 4), scores, np.arange(count))


A, B, C = (2, 3, 14, 28), (20, 1, 31, 30), (33.4, 6, 46, 22)  # persons
CROWD = [(x, y, x + 9, y + 12) for x in range(0, 36, 4) for y in (0, 8, 18)]  # 27, more than slots


def the_samples() -> list[PersonSample]:
    """Frames with 3, 2, 1, 1, 27 and 1 persons, and with 9, 4, 0, 1, 2 and 1 objects."""
    many = [(x, 5, x + 6, 12) for x in (0, 5, 11, 17, 23, 29, 35, 40)]
    cases = [  # clip, key frame, persons, objects by falling score
        ("long", 20, [A, B, C], [many[0], (47, 24, 47.4, 31), *many[1:]]),  # the second: nobody
        # Next to A (ends at 14) and B (from 20): two pixels off; shares A's edge; its corner after
        # rounding; nothing but A's corner.
        ("long", 21, [A, B], [(16, 5, 18, 9), (14, 5, 17, 9), (16, 29, 19.6, 32), (0, 28, 2, 32)]),
        ("long", 1, [C], []),
        ("middle", 18, [B], [(0, 0, 8, 9)]),  # away from everybody
        ("short", 2, CROWD, [(3, 4, 9, 20), (30, 18, 40, 30)]),
        ("one", 0, [A], [(10, 10, 20, 30)]),
    ]
    samples, row = [], 0
    for clip, key, boxes, things in cases:
        rows = np.arange(row, row + len(boxes))
        row += len(boxes)
        samples.append(
            PersonSample(
                clip, LENGTHS[clip], np.array(boxes, np.float32), rows, key_frame=key, size=SIZE,
                objects=objects_of(things),
            )
        )  # fmt: skip
    return samples


class Frames(Scene):
    """Key frames of several clips, and what the reference makes of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.samples = the_samples()
        self.reader = FrameReader(folder, SIZE)
        self.encoded: dict[bytes, Tensor] = {}

    def batch(self, method: ICLIP, samples: Sequence[PersonSample] | None = None) -> PersonBatch:
        samples = self.samples if samples is None else samples
        batch = assemble(self.reader, method.inputs, samples, training=False)
        assert isinstance(batch, PersonBatch)
        return batch

    def _encode(self, clip: Weights, picture: Tensor) -> Tensor:
        """The feature (e,) of a picture, by the reference; the same one is not encoded again."""
        key = picture.numpy().tobytes() + clip["visual.conv1.weight"].numpy().tobytes()
        if key not in self.encoded:
            self.encoded[key] = (
                encode_picture(clip, SETTINGS, picture.double()) @ clip["visual.proj"]
            )
        return self.encoded[key]

    def crops(self, clip: Weights, sample: PersonSample, boxes: np.ndarray) -> Tensor:
        """Features (n, e) of boxes; the pictures are the loader's."""
        pictures = self.reader.crops(sample.clip, sample.key_frame, boxes)
        rows = [self._encode(clip, torch.from_numpy(picture)) for picture in pictures]
        return torch.stack(rows) if rows else clip["visual.proj"].new_zeros(0, EMBED)

    def reference(
        self, method: ICLIP, weights: Weights, samples: Sequence[PersonSample] | None = None
    ) -> Tensor:
        """Reference logits (B, L), frame by frame and person by person."""
        samples = self.samples if samples is None else samples
        known = {
            k: v for k, v in method.config.model_dump().items() if k in Slotted.__annotations__
        }
        s = Slotted(**known)
        clip = {k.removeprefix(CLIP): t.detach() for k, t in weights.items() if k.startswith(CLIP)}
        ids = method.backbone.tokenize(LABELS)
        text = torch.stack([encode_text(clip, SETTINGS, row) for row in ids])
        chosen = [self._objects(clip, sample, s) for sample in samples]
        rows = []
        for sample, objects in zip(samples, chosen, strict=True):
            pictures = self.pictures[sample.clip]
            context = self._encode(clip, pictures[sample.key_frame])
            pool = {frame for frame in range(sample.num_frames) if frame in sample.pool}
            steps = memory_steps(sample.key_frame, sample.num_frames, s, pool)
            after = interact(
                weights, s, self.crops(clip, sample, sample.boxes_xyxy), objects, context,
                [None if t is None else self._encode(clip, pictures[t]) for t in steps],
                skip_objects={
                    "never": False,
                    "frame": not len(objects),
                    "batch": not any(len(o) for o in chosen),
                }[s.skip_objects],
            )  # fmt: skip
            rows += [person_logits(weights, s, person, context, text) for person in after]
        return torch.stack(rows)

    def _objects(self, clip: Weights, sample: PersonSample, s: Slotted) -> Tensor:
        if "O" not in s.units:
            return clip["visual.proj"].new_zeros(0, EMBED)
        things = sample.objects.boxes_xyxy
        kept = chosen_objects(things.tolist(), sample.boxes_xyxy.tolist(), s.object_slots)
        return self.crops(clip, sample, things[kept])
