"""Whether compiled blocks pay (`score.compile`): what compiling costs, and what a pass gains.

    python benchmarks/compiled_blocks.py [--backbone ViT-B-16-quickgelu] [--blocks 2] [--rounds 3]
        [--shapes 8x197 8x200 16x199] [--out benchmarks/results/compiled_blocks_cpu.csv]

For each shape (pictures x tokens), one after the other as scoring meets them: processor seconds of
the first compiled pass, which compiles (the compiler's own included; nothing is cached from
before), then medians of alternating passes, eager and compiled. The first shape is compiled for
itself, later ones for changing sizes. The same in all rows: how many passes through a block, and
of how many shapes, scoring of `key frames` with 1 to 3 persons has, counted on the tiny CLIP, whose
batches are the same.
"""

import argparse
import copy
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from results_file import put
from st_clip import CLIP_FRAMES, DEVICE, LABELS, Batched, draw, make_method
from timing import race
from torch import Tensor, nn

from stclip.runtime.device import machine

TINY = "package:mini/tiny_clip/tiny-clip.json"
BATCH = 32  # key frames, `score.batch_frames`


def cpu_seconds() -> float:
    """Of this process and of the compilers that it has started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def through(blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
    """One after the other."""
    for block in blocks:
        tokens = block(tokens)
    return tokens


def measure(backbone: str, shapes: list[tuple[int, int]], *, blocks: int, rounds: int) -> list[Any]:
    """A row for each shape."""
    method = make_method(backbone).eval()
    method.prepare_scoring()
    eager = method.backbone.blocks[:blocks]
    compiled = copy.deepcopy(eager)
    for block in compiled:
        block.compile()
    rows = []
    for pictures, tokens in shapes:
        x = torch.randn(pictures, tokens, method.backbone.width, device=DEVICE) / 2
        before = cpu_seconds()
        first = through(compiled, x)
        first_s = cpu_seconds() - before
        raced = race(
            {"eager": lambda x=x: through(eager, x), "compiled": lambda x=x: through(compiled, x)},
            rounds=rounds, warm_up=1,
        )  # fmt: skip
        took = {name: way.took.cpu_s / blocks for name, way in raced.items()}
        rows.append({
            "shape": f"{pictures} x {tokens}",
            "first pass cpu s": f"{first_s:.3g}",
            "eager cpu s a block": f"{took['eager']:.3g}",
            "compiled cpu s a block": f"{took['compiled']:.3g}",
            "speed-up": f"{took['eager'] / took['compiled']:.2f}",
            "largest difference": f"{(first - raced['eager'].result).abs().max().item():.1e}",
        })  # fmt: skip
    return rows


def shapes_seen(num_frames: int) -> tuple[int, int]:
    """Passes through a block, and how many shapes they have, in scoring so many key frames."""
    rng, method, seen = np.random.default_rng(0), make_method(TINY).eval(), []
    method.backbone.blocks[0].register_forward_pre_hook(
        lambda block, given: seen.append(tuple(given[0].shape[:2]))
    )
    with tempfile.TemporaryDirectory() as name:
        data = draw(Path(name), -(-num_frames // CLIP_FRAMES))
        samples = []
        by_persons = {p: data.samples(num_frames, persons=p, scattered=False) for p in (1, 2, 3)}
        for frame, persons in enumerate(rng.integers(1, 4, num_frames).tolist()):
            samples.append(by_persons[persons][frame])
        ours = Batched(method, data, precision="fp32", workers=0)
        ours(samples, method.encode_labels(LABELS), size=BATCH)
    return len(seen), len(set(seen))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", default=["8x197", "8x200", "16x199"])
    parser.add_argument("--key-frames", type=int, default=128)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shapes = [(int(a), int(b)) for a, _, b in (text.partition("x") for text in options.shapes)]
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # compilers are waited for, and so counted
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        rows = measure(options.backbone, shapes, blocks=options.blocks, rounds=options.rounds)
        passes, different = shapes_seen(options.key_frames)
    table = pd.DataFrame(rows).assign(**{
        "key frames": options.key_frames, "their passes": passes, "of shapes": different
    })  # fmt: skip
    table["on"] = (
        f"{options.backbone}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{machine()}, {torch.backends.cpu.get_cpu_capability()}"
    )
    put(table.to_csv(index=False), options.out)


if __name__ == "__main__":
    main()
