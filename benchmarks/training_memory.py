"""What a training step keeps for its backward pass: GPU memory at scale paper, counted on shapes.

    python benchmarks/training_memory.py --out benchmarks/results/training_memory.csv

Models of true size with random weights, under bf16 autocast as on a GPU; products are not computed
(`stclip.costs.shapes_only`). Kept is whatever autograd saves, counted once per storage: of the
texts, of the first sample, and of each one more. To it come the weights in fp32, and gradients and
the optimiser's states of the trained ones. What a step needs for a moment, and what the allocator
holds in reserve, come on top. Key frames share no picture, the worst case.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from results_file import put
from torch.autograd.graph import saved_tensors_hooks

from stclip.config import load_method
from stclip.costs.counted import as_read
from stclip.costs.measure import drawn_batch
from stclip.costs.shapes_only import ShapesOnly
from stclip.methods import build
from stclip.methods.contract import Method
from stclip.storage.files import read_json

CONFIG = Path("config")
GIB = 2**30
FAR_APART = (4, 13)  # key frames whose windows of nine share no frame
# Data set, method, persons a key frame; those with stored features need next to nothing.
ROWS = [
    *(("jhmdb", name, 1) for name in ("viclip", "xclip", "vitaclip", "st_clip")),
    *(("ucf101_24", name, 1) for name in ("vitaclip", "st_clip")),
    ("ava", "vitaclip", 1),
    *(("ava", "st_clip", persons) for persons in (1, 3)),
]


def kept(run: Callable[[], Any], method: Method) -> tuple[Any, float]:
    """The result, and the bytes saved for its backward pass beside the method's own tensors."""
    own = {t.untyped_storage().data_ptr() for t in (*method.parameters(), *method.buffers())}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        result = run()
    return result, sum(found.values())


def row(dataset: str, name: str, persons: int) -> dict[str, str]:
    """Count a method's step on the longest list of base labels of a label split."""
    config = load_method(CONFIG, name, dataset=dataset, scale="paper")
    splits = Path("splits", dataset, "st-clip").glob("*.json")
    labels = max((read_json(path)["base"] for path in sorted(splits)), key=len)
    random = config.backbone.model_copy(update={"weights": None})
    with ShapesOnly():  # type: ignore[no-untyped-call]
        method = build.load_method(config.model_copy(update={"backbone": random})).train()
        encoded = method.encode_names(labels, config)
        text, of_text = kept(lambda: method.text_features(encoded), method)
        of_samples = []
        # Of clips and tracks the drawn video has one.
        for number in (1, 2) if method.inputs.unit == "person" else (1,):
            drawn = drawn_batch(method, FAR_APART[:number], persons=persons, training=True)
            batch, _ = as_read(drawn, config)
            of_samples.append(kept(lambda batch=batch: method.logits(batch, text), method)[1])
    first, more = of_samples[0], of_samples[-1] - sum(of_samples[:-1])
    weights = sum(p.numel() for p in method.parameters()) * 4
    states = {"sgd": 1, "adamw": 2}[config.train.optimizer]
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad) * 4 * (1 + states)
    total = weights + trained + of_text + first + more * (config.train.batch_frames - 1)
    sizes = {
        "weights": weights, "gradients and optimiser": trained, "texts": of_text,
        "first sample": first, "each more": more, "all": total,
    }  # fmt: skip
    return {
        "data set": dataset,
        "method": config.name,
        "backbone": config.backbone.model,
        "persons": str(persons),
        "labels": str(len(labels)),
        "batch": str(config.train.batch_frames),
        **{f"{what} GiB": f"{size / GIB:.2f}" for what, size in sizes.items()},
    }


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # A process a row, which gives back what it took: a row of ViT-L/14 needs 15 GB.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        rows = list(pool.map(row, *zip(*ROWS, strict=True)))
    put(pd.DataFrame(rows).to_csv(index=False), options.out)


if __name__ == "__main__":
    main()
