"""How long a film takes from its pictures to the scores of its boxes, on one and more devices.

The film is drawn, the weights are random. Every device has a process with the method of its own and
scores a share of the key frames, in their order; windows at the edge of two shares are read and
embedded by both.
"""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np

from stclip.config import MethodConfig
from stclip.costs.measure import VIDEO, drawn_video, noise, text_of
from stclip.costs.measured import Latency
from stclip.inputs.frame_reader import FrameReader
from stclip.methods.build import load_method
from stclip.runtime.device import best_device, seed_everything
from stclip.runtime.gpus import VISIBLE
from stclip.runtime.parent import end_with_parent
from stclip.score.score import score_boxes
from stclip.storage.frame_store import StoreName, clip_writer

WAIT_S = 600.0  # of a device for the others to be ready
PICTURES = 8  # of the film, again and again: no two neighbours are alike


@dataclass(frozen=True, kw_only=True)
class Film:
    """A drawn film, every frame a key frame with so many persons."""

    frames: Path
    key_frames: int
    persons: int
    labels: int


def measure_latency(
    config: MethodConfig,
    *,
    key_frames: int,
    persons: int,
    labels: int,
    store: StoreName,
    gpus: Sequence[str],
    workers: int = 0,
) -> list[Latency]:
    """Score a drawn film on 1, 2, 4, ... and on all GPUs, or on the CPU.

    Args:
        config: the method; its weights stay random.
        key_frames: of the film.
        persons: in each of them.
        labels: class names.
        store: how the film's frames are stored.
        gpus: those that may be used, as CUDA_VISIBLE_DEVICES names them; none: the CPU.
        workers: processes that read frames, shared by the devices.
    """
    random = config.backbone.model_copy(update={"weights": None})
    config = config.model_copy(update={"backbone": random, "features": []})
    most = max(1, len(gpus))
    counts = sorted({2**i for i in range(most.bit_length())} | {most})
    found = []
    with tempfile.TemporaryDirectory() as folder:
        film = Film(frames=Path(folder), key_frames=key_frames, persons=persons, labels=labels)
        draw(film, store)
        for count in counts:
            seconds = score_film(config, film, gpus=gpus[:count], workers=workers // count)
            found.append(
                Latency(
                    title=config.title,
                    devices=count,
                    key_frames=key_frames,
                    persons=persons,
                    seconds=seconds,
                )
            )
    return found


def draw(film: Film, store: StoreName) -> None:
    """Store the film's pictures."""
    pictures = noise(PICTURES)
    with clip_writer(film.frames, VIDEO, store) as writer:
        for frame in range(film.key_frames):
            writer.add(frame, pictures[frame % PICTURES])


def score_film(config: MethodConfig, film: Film, *, gpus: Sequence[str], workers: int) -> float:
    """Seconds from the first device's first key frame to the last one's last.

    Raises:
        threading.BrokenBarrierError: a device was not ready in time.
    """
    shares = np.array_split(np.arange(film.key_frames), max(1, len(gpus)))
    if len(shares) == 1:
        times = [score_share(config, film, shares[0].tolist(), workers, threading.Barrier(1))]
    else:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        names: SimpleQueue[str] = context.SimpleQueue()
        for name in gpus:
            names.put(name)
        ready = context.Barrier(len(shares))
        with ProcessPoolExecutor(
            len(shares), context, initializer=_start, initargs=(names, ready, os.getpid())
        ) as pool:
            jobs = [
                pool.submit(_on_own_device, config, film, share.tolist(), workers)
                for share in shares
            ]
            times = [job.result() for job in jobs]
    return max(end for _, end in times) - min(begin for begin, _ in times)


def _start(names: "SimpleQueue[str]", ready: Any, parent: int) -> None:
    """Take a GPU, before CUDA starts in this process."""
    end_with_parent(parent)
    os.environ[VISIBLE] = names.get()
    _READY.append(ready)


_READY: list[Any] = []  # of a process with a device of its own: where it waits for the others


def _on_own_device(
    config: MethodConfig, film: Film, share: list[int], workers: int
) -> tuple[float, float]:
    return score_share(config, film, share, workers, _READY[0])


def score_share(
    config: MethodConfig, film: Film, share: list[int], workers: int, ready: Any
) -> tuple[float, float]:
    """When this device begins with its key frames, and when it has scored them all.

    Its clock is that of all processes of the machine. `ready` is a barrier: nobody begins before
    all have warmed up on their first batch.
    """
    seed_everything(0)
    method = load_method(config).to(best_device()).eval()
    method.prepare_scoring()
    labels = [f"action {number}" for number in range(film.labels)]
    text = text_of(method, labels, config)
    table, objects, clips = drawn_video(share, persons=film.persons, num_frames=film.key_frames)
    begin = 0.0
    for rows in (config.score.batch_frames * film.persons, len(table)):  # the first warms up
        reader = FrameReader(
            film.frames, method.backbone.image_size, preprocessing=config.preprocessing
        )
        ready.wait(WAIT_S)
        begin = time.monotonic()
        score_boxes(
            method, table[:rows], clips, text, num_labels=film.labels, reader=reader,
            config=config, objects=objects, workers=workers,
        )  # fmt: skip
    return begin, time.monotonic()
