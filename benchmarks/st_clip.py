"""ST-CLIP as it runs here against the structure of the released code, in one run.

    python benchmarks/st_clip.py [--backbone ViT-B-16-quickgelu] [--precision fp32 bf16]
        [--frames 16] [--persons 1 3] [--steps 2] [--rounds 2] [--workers 0] [--compile]
        [--labels 6] [--interest-tokens 0] [--out benchmarks/results/st_clip_cpu.csv]

Draws clips of J-HMDB's size, stores them as PNG for the released structure and decoded for ours,
gives both the same random weights (LoRA switched on), checks that the logits agree, and measures
scoring with P persons a key frame and training steps of 8 key frames with one person: frames a
second, peak memory, and the operations of the floor (`shared_flops`; a training step counts 2.1
times) as a share of what a matrix product of the model's shape reaches on the machine. Rounds of
the two alternate; medians, by the clock and of the processor. Decoding is part of both; the
released code decodes another 33 frames a key frame for a clip that no module reads, which is
measured apart.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timing
import torch
from PIL import Image
from released_st_clip import Released, png
from timing import Taken, timed
from torch import Tensor

from stclip.config import CONFIG_FOLDER, TrainConfig, load_method
from stclip.inputs.batch import PersonSample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.methods.build import build
from stclip.methods.label_semantics import classification_loss
from stclip.methods.layers.multiply_adds import Tower
from stclip.methods.st_clip.cost import shared_flops
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.runtime.device import best_device, machine
from stclip.storage.frame_store import write_clip
from stclip.tables.table_files import render_text
from stclip.train.resume import make_optimizer

WIDTH, HEIGHT, CLIP_FRAMES = 320, 240, 34
LABELS = ("clap", "sit", "wave", "throw", "pullup", "catch")
TRAIN_LABELS = tuple(f"{label} {n}" for label in LABELS for n in (1, 2, 3))[:15]
TRAINING = 2.1  # operations of a training step over those of its forward pass: weights are frozen
UNREAD_FRAMES = 33
DEVICE = best_device()


@dataclass(frozen=True)
class Data:
    """Drawn clips, stored both ways."""

    pngs: Path
    decoded: Path
    num_clips: int

    def samples(self, num: int, *, persons: int, scattered: bool) -> list[PersonSample]:
        """Key frames in order, as they are scored, or scattered, as they are trained on."""
        rng = np.random.default_rng(0)
        every = [(c, f) for c in range(self.num_clips) for f in range(CLIP_FRAMES)]
        chosen = rng.permutation(len(every))[:num] if scattered else range(num)
        samples = []
        for row, (clip, frame) in enumerate(every[i] for i in chosen):
            corner = rng.integers(0, (200, 80), (persons, 2))
            boxes = np.hstack([corner, corner + rng.integers((30, 80), (110, 150), (persons, 2))])
            rows = np.arange(row * persons, (row + 1) * persons)
            boxes = boxes.astype("f4")
            sample = PersonSample(f"clip_{clip}", CLIP_FRAMES, boxes, rows, key_frame=frame)
            samples.append(sample)
        return samples


def draw(folder: Path, num_clips: int) -> Data:
    """Smooth coloured clouds that drift: they compress about as photographs do."""
    rng = np.random.default_rng(0)
    data = Data(folder / "png", folder / "decoded", num_clips)
    for number in range(num_clips):
        clip = f"clip_{number}"
        coarse = Image.fromarray(rng.integers(0, 256, (30, 60, 3), dtype=np.uint8))
        wide = np.asarray(coarse.resize((2 * WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        noise = rng.integers(-6, 7, (CLIP_FRAMES, HEIGHT, WIDTH, 3))
        shown = np.stack([wide[:, 4 * t : 4 * t + WIDTH] for t in range(CLIP_FRAMES)])
        pictures = (shown + noise).clip(0, 255).astype(np.uint8)
        write_clip(data.decoded, clip, pictures)
        (data.pngs / clip).mkdir(parents=True)
        for frame, picture in enumerate(pictures):
            Image.fromarray(picture).save(png(data.pngs, clip, frame))
    return data


def make_method(backbone: str, *, interest_tokens: int = 0) -> STCLIP:
    """Random weights; LoRA and prompting weights away from their start."""
    torch.manual_seed(0)
    method = build(
        "st_clip", labels=LABELS, backbone=backbone, interest_tokens=interest_tokens
    ).method
    assert isinstance(method, STCLIP)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return method.to(DEVICE)


def matmul_rate(precision: str) -> float:
    """Operations a second of a product of the shape that the model spends most time in."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(8 * 197, 768, device=DEVICE, dtype=dtype)
    b = torch.randn(768, 3072, device=DEVICE, dtype=dtype)
    if DEVICE.type == "cuda":
        a = a.repeat(8, 1)
    best = min(timed(lambda: [a @ b for _ in range(20)])[0].wall_s for _ in range(5))
    return 20 * 2 * len(a) * b.numel() / best


def forget_peak() -> None:
    """Start to measure peak memory anew."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_gib() -> float:
    """Of the GPU, or of the process; since `forget_peak`."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


class Batched:
    """The method as the score and train stages run it."""

    def __init__(self, method: STCLIP, data: Data, *, precision: str, workers: int) -> None:
        """`workers`: processes that assemble batches."""
        self.method, self.data = method, data
        self.bf16, self.workers = precision == "bf16", workers

    def __call__(self, samples: Sequence[PersonSample], text: Tensor, *, size: int) -> list[Tensor]:
        """Logits of every batch."""
        reader = FrameReader(self.data.decoded, self.method.backbone.image_size)
        batches = [samples[i : i + size] for i in range(0, len(samples), size)]
        found = []
        for batch in make_loader(
            reader, self.method.inputs, batches, training=False, workers=self.workers
        ):
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.bf16):
                found.append(self.method(batch.to(DEVICE), text))
        return found


def numbered(count: int) -> tuple[str, ...]:
    """As many labels."""
    return tuple(f"{LABELS[number % len(LABELS)]} {number}" for number in range(count))


def compare_scoring(options: argparse.Namespace, data: Data, persons: int) -> dict[str, Any]:
    """Scoring with so many persons a frame."""
    samples = data.samples(options.frames, persons=persons, scattered=False)
    unmerged, merged = (
        make_method(options.backbone, interest_tokens=options.interest_tokens).eval()
        for _ in range(2)
    )
    labels = LABELS if options.labels == len(LABELS) else numbered(options.labels)
    merged.prepare_scoring()
    if options.compile:
        merged.backbone.compile_blocks()
    text = merged.encode_labels(labels)
    released = Released(unmerged, labels, data.pngs)

    def as_released() -> Tensor:
        return torch.cat([released(samples[i : i + 8]) for i in range(0, len(samples), 8)])

    ways: dict[str, Callable[[], Tensor]] = {"released": as_released}
    for precision in options.precision:
        ours = Batched(merged, data, precision=precision, workers=options.workers)
        ways[precision] = lambda ours=ours: torch.cat(ours(samples, text, size=32))
    floor = options.frames * shared_flops(
        tower(merged), persons=persons, labels=len(labels),
        interest_tokens=options.interest_tokens,
    )  # fmt: skip
    with torch.inference_mode():
        return race(ways, options, frames=options.frames, floor=floor)


def compare_training(options: argparse.Namespace, data: Data) -> dict[str, Any]:
    """Steps of 8 scattered key frames with one person each."""
    size = 8
    samples = data.samples(size * options.steps, persons=1, scattered=True)
    settings = load_method(CONFIG_FOLDER, "st_clip", dataset="jhmdb", scale="paper").train
    first, second = make_method(options.backbone), make_method(options.backbone)
    if options.compile:
        second.backbone.compile_blocks()
    text = second.encode_labels(TRAIN_LABELS)
    released = Released(first, TRAIN_LABELS, data.pngs)
    goals = torch.eye(len(TRAIN_LABELS), device=DEVICE)[torch.arange(size) % len(TRAIN_LABELS)]

    def train(method: STCLIP, logits: Callable[[list[PersonSample]], Tensor]) -> Tensor:
        optimizer = make_optimizer([p for p in method.parameters() if p.requires_grad], settings)
        losses = []
        for start in range(0, len(samples), size):
            loss = step(logits(samples[start : start + size]), goals, settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    ways: dict[str, Callable[[], Tensor]] = {"released": lambda: train(first, released)}
    for precision in options.precision:
        ours = Batched(second, data, precision=precision, workers=0)
        ways[precision] = lambda ours=ours: train(second, lambda s: ours(s, text, size=size)[0])
    forward = shared_flops(tower(second), persons=1, labels=len(TRAIN_LABELS))
    floor = int(TRAINING * forward * len(samples))
    restart = [(m, {k: v.clone() for k, v in m.state_dict().items()}) for m in (first, second)]

    def again() -> None:
        for method, state in restart:
            method.load_state_dict(state)

    return race(ways, options, frames=len(samples), floor=floor, before=again)


def step(logits: Tensor, goals: Tensor, settings: TrainConfig) -> Tensor:
    """The loss of a step."""
    return classification_loss(logits, goals, kind=settings.loss, gamma=settings.focal_gamma)


def race(
    ways: dict[str, Callable[[], Tensor]],
    options: argparse.Namespace,
    *,
    frames: int,
    floor: int,
    before: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Medians of alternating rounds; results must agree with the first way's."""
    peaks: dict[str, float] = {}

    def begin() -> None:
        before()
        forget_peak()

    def end(number: int, name: str, took: Taken) -> None:
        peaks[name] = peak_gib()
        sys.stderr.write(f"  round {number}, {name}: {took.wall_s:.2f} s\n")

    raced = timing.race(
        ways, rounds=options.rounds, warm_up=DEVICE.type == "cuda" or options.compile,
        before=begin, after=end,
    )  # fmt: skip
    first = raced[next(iter(ways))]
    found = {}
    for name, own in raced.items():
        rate = matmul_rate("bf16" if name == "bf16" else "fp32")
        off = (own.result.float() - first.result.float()).abs().max().item()
        if name == "fp32":
            assert off < 1e-3, f"{name} and the first way differ by {off}"
        found[name] = {
            "frames_per_s": frames / own.took.wall_s,
            "cpu s": own.took.cpu_s,
            "speed-up": first.took.wall_s / own.took.wall_s,
            "share of matmul rate": floor / own.took.wall_s / rate,
            "matmul TFLOP/s": rate / 1e12,
            "peak GiB": peaks[name],
            "largest difference": off,
        }
    return {"frames": frames, "ways": found}


def tower(method: STCLIP) -> Tower:
    """The sizes of the method's image tower."""
    backbone = method.backbone
    patch = backbone.clip.visual.conv1.kernel_size[0]
    height, width = backbone.image_size
    num_patches = (height // patch) * (width // patch)
    return Tower(backbone.width, len(backbone.blocks), patch, num_patches, backbone.embed_dim)


def unread_clip(data: Data) -> float:
    """Seconds a key frame to decode the clip that the released code never uses."""
    paths = [png(data.pngs, "clip_0", f) for f in range(UNREAD_FRAMES)]

    def decode() -> None:
        for path in paths:
            with Image.open(path) as file:
                file.convert("RGB")

    return timed(decode)[0].wall_s


def rows(what: str, found: dict[str, Any]) -> list[dict[str, str]]:
    """Text cells, a row for each way."""
    forms = {"share of matmul rate": ".0%", "largest difference": ".1e", "speed-up": ".2f"}
    return [
        {"what": what, "way": name, "key frames": str(found["frames"])}
        | {key: f"{value:{forms.get(key, '.3g')}}" for key, value in numbers.items()}
        for name, numbers in found["ways"].items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES)
    parser.add_argument("--persons", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--labels", type=int, default=len(LABELS), help="of scoring")
    parser.add_argument("--interest-tokens", type=int, default=0, help="of scoring; 0: all tokens")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="the image blocks")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = machine()
    compiled = ", blocks compiled" if options.compile else ""
    its = options.interest_tokens
    of = f", {options.labels} labels, {its} interest tokens" if its else ""
    about = f"{options.backbone}{of}{compiled}, torch {torch.__version__}, {device}"
    found: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = draw(Path(folder), num_clips=max(4, -(-options.frames // CLIP_FRAMES)))
        unread = unread_clip(data)
        for persons in options.persons:
            found += rows(f"scoring, P = {persons}", compare_scoring(options, data, persons))
        if options.steps:
            found += rows("training", compare_training(options, data))
    table = pd.DataFrame(found, dtype="str").assign(on=about)
    sys.stdout.write(render_text(table) + "\n")
    sys.stdout.write(f"decoding the clip that nothing reads: {unread:.3f} s a key frame\n")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(table.to_csv(index=False), "utf-8")


if __name__ == "__main__":
    main()
