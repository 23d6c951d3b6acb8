"""What every method costs, by one counter and one clock (Huang et al. 2025, Table 10).

The methods are measured one after the other in one process. Counted are the multiply-adds of what
runs here: matrix products, convolutions and attention; what is shared or skipped is not there.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from torch.utils.flop_counter import FlopCounterMode

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig
from stclip.costs.measured import Cost
from stclip.inputs.batch import ClipBatch, PersonBatch
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.reading import make_reader
from stclip.records import BOX_COLUMNS, Clips, Data, Detections, LabelSplit
from stclip.runtime.device import best_device, seed_everything
from stclip.score.score import score_boxes
from stclip.storage.files import read_json_lines
from stclip.storage.frame_store import write_clip
from stclip.train.train import train

VIDEO_FRAMES = 40  # of the counted video, J-HMDB's usual length; one person in each
VIDEO_SIZE = (240, 320)
VIDEO = "video"
GROUND_TRUTH = BoxSource(source="ground_truth")


def measure(
    config: MethodConfig,
    data: Data,
    *,
    split: LabelSplit,
    steps: int,
    videos: int,
) -> Cost:
    """Train `steps` steps, score `videos` test videos on their ground-truth boxes, count.

    Args:
        config: the method; trained as it says, from stored features too, scored from pictures.
        data: prepared; objects and stored features where the method reads them.
        split: whose clips and unseen labels are taken.
        steps: training steps, at least 2.
        videos: test videos.

    Raises:
        ConfigError, DataError: as training and scoring.
    """
    step_s = _step_seconds(config, data, split, steps)
    seed_everything(0)
    method = load_method(config).to(best_device()).eval()
    method.prepare_scoring()
    seen = config.model_copy(update={"features": []})
    reader = make_reader(method, seen, data, kinds_of_boxes=[])
    names = split.unseen_clips[:videos]
    began = 0.0
    for chosen in (names[:1], names):  # the first time warms up
        table = select_boxes(GROUND_TRUTH, data, names=chosen)
        began = time.perf_counter()
        text = text_of(method, split.unseen, config)
        score_boxes(
            method, table, data.clips, text, num_labels=len(split.unseen), reader=reader,
            config=seen, objects=data.objects,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    lengths = data.clips.table.set_index("clip")["num_frames"]
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    video_macs, text_macs = count(method.requires_grad_(False), split.unseen, config)
    return Cost(
        method=config.name,
        title=config.title,
        order=config.order,
        video_macs=video_macs,
        text_macs=text_macs,
        trained=trained,
        iterations=config.train.iterations,
        step_s=step_s,
        score_s=seconds / len(names),
        frames_per_s=float(lengths[list(names)].sum() / seconds),
    )


def _step_seconds(config: MethodConfig, data: Data, split: LabelSplit, steps: int) -> float | None:
    if not config.train.iterations:
        return None
    few = config.train.model_copy(update={"iterations": steps, "checkpoint_every": steps})
    with tempfile.TemporaryDirectory() as folder:
        timed = config.model_copy(update={"train": few})
        train(timed, data, split=split, seed=0, out=Path(folder))
        log = read_json_lines(Path(folder) / "log.jsonl")
    return median(line["seconds"] for line in log[1:])


def count(method: Method, labels: Sequence[str], config: MethodConfig) -> tuple[int, int]:
    """Multiply-adds of a drawn video of 40 frames, one person each, and of the label texts.

    No parameter of `method` may require a gradient: the counter stumbles over one that is an input.
    """
    batch = drawn_batch(method, range(VIDEO_FRAMES)).to(best_device())
    with counting() as of_text:
        text = text_of(method, labels, config)
    with counting() as of_video, torch.inference_mode():
        method.logits(batch, text)
    return of_video.get_total_flops() // 2, of_text.get_total_flops() // 2


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Counts operations, two a multiply-add, those of attention's fast path among them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its products from the counter
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def drawn_batch(
    method: Method, key_frames: Sequence[int], *, persons: int = 1, training: bool = False
) -> PersonBatch | ClipBatch:
    """What a method sees of a drawn video of 40 frames: persons, and an object, on `key_frames`.

    Training and scoring may look at a clip in different ways.
    """
    table, objects, clips = drawn_video(key_frames, persons=persons)
    samples = make_samples(table, clips, inputs=method.inputs, objects=objects)
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder), VIDEO, noise(VIDEO_FRAMES))
        reader = FrameReader(Path(folder), method.backbone.image_size)
        return assemble(reader, method.inputs, samples, training=training)


def noise(num_frames: int) -> UInt8[np.ndarray, "T H W 3"]:
    """Pictures of a drawn video."""
    shape = (num_frames, *VIDEO_SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def text_of(method: Method, labels: Sequence[str], config: MethodConfig) -> Any:
    """What the label texts give the method, as it is scored."""
    with torch.inference_mode():
        encoded = method.encode_names(labels, config)
        return method.text_features(encoded)


def drawn_video(
    key_frames: Sequence[int], *, persons: int, num_frames: int = VIDEO_FRAMES
) -> tuple[pd.DataFrame, Detections, Clips]:
    """Persons, all in one place, and an object in each of these of `num_frames` frames."""
    height, width = VIDEO_SIZE
    clips = Clips(
        pd.DataFrame(
            [(VIDEO, "test", num_frames, height, width, 30.0, "none", ["none"])],
            columns=list(Clips.COLUMNS),
        )
    )
    frames = pd.DataFrame({"clip": VIDEO, "frame": key_frames, "score": 1.0})
    person, thing = (
        frames.assign(**dict(zip(BOX_COLUMNS, corners, strict=True)))
        for corners in ((90.0, 30.0, 210.0, 220.0), (180.0, 90.0, 260.0, 150.0))
    )
    several = person.loc[person.index.repeat(persons)].reset_index(drop=True)
    tubes = several.index % persons
    table = several.assign(tube=tubes, origin=GROUND_TRUTH.source, stored=several.index)
    return table, Detections(thing), clips
