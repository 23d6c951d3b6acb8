"""iCLIP's head with counted empty slots against one that builds them, in one run.

    python benchmarks/iclip.py [--width 512] [--frames 32] [--persons 1 3] [--steps 2] [--rounds 2]
        [--out benchmarks/results/iclip_cpu.csv]

The built head has what the released structure has: for every person 25 + 5 + 25 + 600 rows, nearly
all of them zeros, through the key and value projections of both rounds of units. Both have the
same random weights and features and must give the same logits; scoring with P persons a frame, and
training steps of 8 frames with one person. Prompting, fusion and loss are shared; no picture is
encoded. Rounds of the two alternate; medians, by the clock and of the processor.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import timing
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.iclip import ICLIP
from baselines.iclip_interaction import Grouping, Slots, Unit
from stclip.config import CONFIG_FOLDER, load_method
from stclip.inputs.batch import Encoded, Objects, PersonBatch
from stclip.methods.clip.backbone import Backbone
from stclip.methods.label_semantics import classification_loss
from stclip.runtime.device import best_device, machine
from stclip.tables.table_files import render_text
from stclip.train.resume import make_optimizer

DEVICE = best_device()
SCORED, TRAINED = 6, 15  # labels


class BuiltUnit(Unit):
    """A unit with every slot of every person there."""

    def attend(self, persons: Tensor, slots: Slots, grouping: Grouping) -> Tensor:
        """Keys and values of all slots; softmax over all of them."""
        rows, step = built(slots)
        rows = rows[grouping.sample]  # (B, K, e): a copy for each person
        key, value = self.key(rows), self.value(rows)
        if self.has_positions:
            key, value = key + self.pos_k[step], value + self.pos_v[step]
        scores = (key @ self.query(persons)[..., None])[..., 0] * persons.shape[-1] ** -0.5
        drawn: Tensor = (scores.softmax(-1)[:, None] @ value)[:, 0]
        return drawn


def built(slots: Slots) -> tuple[Tensor, Tensor]:
    """All slots of each frame (S, K, e), zeros where they are empty, and their steps (K,)."""
    contents = slots.contents * slots.filled[..., None]
    steps = slots.empty.shape[1]
    total = int((slots.empty[0].sum() + slots.filled[0].sum()).item())
    if steps == 1:
        rows = F.pad(contents, (0, 0, 0, total - contents.shape[1]))
        return rows, torch.zeros(total, dtype=torch.long, device=contents.device)
    by_step = F.pad(contents[:, :, None], (0, 0, 0, total // steps - 1))  # (S, M, 10, e)
    step = torch.arange(steps, device=contents.device).repeat_interleave(total // steps)
    return by_step.flatten(1, 2), step


def make_methods(width: int) -> tuple[ICLIP, ICLIP]:
    """The counting head and the building one, of the same random weights away from their start."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(  # nothing is encoded: small, but for the joint width
        width,
        {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 64},
        {"context_length": 16, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1},
    )
    counting = ICLIP(Backbone(clip, None), ICLIP.Config())
    with torch.no_grad():
        for parameter in counting.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    building = copy.deepcopy(counting)
    for unit in building.interaction.units.values():
        unit.__class__ = BuiltUnit
    return counting.to(DEVICE), building.to(DEVICE)


def drawn_batch(num_frames: int, *, persons: int, width: int) -> PersonBatch:
    """Features of neighbouring key frames: three objects each, every step of the memory there."""
    torch.manual_seed(1)
    key = torch.arange(num_frames) + 30
    steps = torch.tensor([step for step in range(-30, 31) if step])
    box_sample = torch.arange(num_frames).repeat_interleave(persons)
    things = torch.arange(num_frames).repeat_interleave(3)
    everywhere = torch.tensor([0.0, 0.0, 99.0, 99.0])
    boxes = everywhere.repeat(len(box_sample), 1)
    return PersonBatch(
        pictures=Encoded(torch.randn(num_frames + 60, width)),
        frames=key[:, None],
        frame_mask=torch.ones(num_frames, 1, dtype=torch.bool),
        key=key,
        crops=Encoded(torch.randn(len(box_sample), width)),
        boxes=boxes,
        picture_boxes=boxes,
        box_sample=box_sample,
        objects=Objects(
            pictures=Encoded(torch.randn(len(things), width)),
            boxes=everywhere.repeat(len(things), 1),
            scores=torch.ones(len(things)),
            sample=things,
        ),
        memory=key[:, None] + steps,
        memory_mask=torch.ones(num_frames, 60, dtype=torch.bool),
    ).to(DEVICE)


def compare_scoring(options: argparse.Namespace, persons: int) -> dict[str, Any]:
    """Scoring with so many persons a frame, 8 frames in a batch."""
    counting, building = (method.eval() for method in make_methods(options.width))
    sizes = [min(8, options.frames - i) for i in range(0, options.frames, 8)]
    batches = [drawn_batch(size, persons=persons, width=options.width) for size in sizes]
    text = torch.randn(SCORED, options.width, device=DEVICE)

    def score(method: ICLIP) -> Tensor:
        with torch.inference_mode():
            return torch.cat([method.logits(batch, text) for batch in batches])

    ways = {"built": lambda: score(building), "counted": lambda: score(counting)}
    return race(ways, options, frames=options.frames)


def compare_training(options: argparse.Namespace) -> dict[str, Any]:
    """Steps of 8 frames with one person each; the losses of all steps must agree."""
    counting, building = (method.train() for method in make_methods(options.width))
    batch = drawn_batch(8, persons=1, width=options.width)
    text = torch.randn(TRAINED, options.width, device=DEVICE)
    goals = torch.eye(TRAINED, device=DEVICE)[:8]
    settings = load_method(CONFIG_FOLDER, "iclip", dataset="jhmdb", scale="paper").train
    start = {k: v.clone() for k, v in counting.state_dict().items()}

    def train(method: ICLIP) -> Tensor:
        method.load_state_dict(start)
        torch.manual_seed(2)  # the same dropout for both
        optimizer = make_optimizer([p for p in method.parameters() if p.requires_grad], settings)
        losses = []
        for _ in range(options.steps):
            loss = classification_loss(
                method.logits(batch, text), goals, kind=settings.loss, gamma=settings.focal_gamma
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    ways = {"built": lambda: train(building), "counted": lambda: train(counting)}
    return race(ways, options, frames=8 * options.steps)


def race(
    ways: dict[str, Callable[[], Tensor]], options: argparse.Namespace, *, frames: int
) -> dict[str, Any]:
    """Medians of alternating rounds; results must agree with the first way's."""
    raced = timing.race(ways, rounds=options.rounds, warm_up=1)
    first = raced[next(iter(ways))]
    found = {}
    for name, own in raced.items():
        off = (own.result - first.result).abs().max().item()
        assert off < 1e-3, f"{name} and the first way differ by {off}"
        found[name] = {
            "frames_per_s": frames / own.took.wall_s,
            "cpu s": own.took.cpu_s,
            "speed-up": first.took.wall_s / own.took.wall_s,
            "largest difference": off,
        }
    return {"frames": frames, "ways": found}


def rows(what: str, found: dict[str, Any]) -> list[dict[str, str]]:
    """Text cells, a row for each way."""
    forms = {"largest difference": ".1e", "speed-up": ".2f"}
    return [
        {"what": what, "slots": name, "key frames": str(found["frames"])}
        | {key: f"{value:{forms.get(key, '.3g')}}" for key, value in numbers.items()}
        for name, numbers in found["ways"].items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=512, help="joint width; 768 at ViT-L/14")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--persons", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    about = f"head at e = {options.width}, torch {torch.__version__}, {machine()}"
    found: list[dict[str, str]] = []
    for persons in options.persons:
        found += rows(f"scoring, P = {persons}", compare_scoring(options, persons))
    if options.steps:
        found += rows("training", compare_training(options))
    table = pd.DataFrame(found, dtype="str").assign(on=about)
    sys.stdout.write(render_text(table) + "\n")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(table.to_csv(index=False), "utf-8")


if __name__ == "__main__":
    main()
