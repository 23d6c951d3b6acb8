"""How fast `stclip predict` is, part by part, on one core.

    python benchmarks/predict.py [VIDEO] --out benchmarks/results/predict_cpu.csv

Without VIDEO a film is drawn: two figures, 640 x 360 at 25 frames a second. Run it where data/
holds the scale's detector. `decode` reads the video and keeps what the method looks at, `detect`
boxes persons in the key frames, `score` is the method with its loading of pictures, `draw` reads
the video once more and writes overlay and sheet. Each is the median of some rounds, measured one
after the other; in `stclip predict` a thread decodes while the rest computes.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import torch
from results_file import one_core, put
from timing import Taken, timed

from stclip.own_videos import predictor as module
from stclip.own_videos.opened import open_video
from stclip.own_videos.predict import draw
from stclip.own_videos.predictor import Predictor
from stclip.own_videos.video_parts import Cutting, parts_of

SIZE, RATE = (640, 360), 25  # width and height, frames/s of what is drawn
LABELS = [
    "walk",
    "stand",
    "sit",
    "talk to a person",
    "carry an object",
    "run",
    "dance",
    "hand wave",
]
KEPT = {"every_s", "rate", "short_side", "part_key_frames", "clip_s"}


def draw_film(path: Path, seconds: int) -> None:
    """Two upright figures that walk past each other before a noisy ground, as H.264."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    coarse = rng.integers(60, 180, size=(height // 20, width // 20, 3)).astype(np.uint8)
    ground = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * RATE):
            picture = ground.copy()
            share = number / (seconds * RATE)
            for x, colour in ((share, (40, 40, 200)), (1 - share, (200, 160, 60))):
                left = int(x * (width - 80))
                cv2.rectangle(picture, (left + 20, 150), (left + 60, 330), colour, -1)
                cv2.circle(picture, (left + 40, 125), 26, (140, 170, 220), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


class Clocked:
    """A function whose calls are timed together."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.took = call, Taken(0.0, 0.0)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call it; the seconds are added up."""
        took, result = timed(lambda: self.call(*args, **keywords))
        self.took = Taken(self.took.wall_s + took.wall_s, self.took.cpu_s + took.cpu_s)
        return result


def measure(own: Predictor, video: Path, *, rounds: int) -> list[dict[str, object]]:
    """A row for each part: what is counted, and how many of it go into a second."""
    cutting = Cutting.for_inputs(own.method.inputs, **own.own.model_dump(include=KEPT))
    recording = open_video(video, image_rate=own.own.image_rate)
    frames = sum(1 for _ in recording.frames())
    times: dict[str, list[Taken]] = {part: [] for part in ("decode", "detect", "score", "draw")}
    find, score = own._detector.find, module.score_boxes
    for _ in range(rounds):
        took = {"decode": timed(lambda: [p.number for p in parts_of(recording, cutting)])[0]}
        own._detector.find, module.score_boxes = detecting, scoring = Clocked(find), Clocked(score)
        found = own.predict(video, LABELS)
        took |= {"detect": detecting.took, "score": scoring.took}
        with tempfile.TemporaryDirectory() as folder:
            drawing = timed(partial(draw, own, video, found, Path(folder), overlay=True))
        took["draw"] = drawing[0]
        for part, rounds_of_it in times.items():
            rounds_of_it.append(took[part])
    own._detector.find, module.score_boxes = find, score
    keys = len(found.key_frames)
    counted = {"decode": frames, "detect": keys, "score": keys, "draw": frames}
    typical = {part: Taken.median(rounds_of_it) for part, rounds_of_it in times.items()}
    clocks = zip(*map(astuple, typical.values()), strict=True)
    typical["all"] = Taken(*map(sum, clocks))
    counted["all"] = round(frames / float(recording.rate or RATE))
    kinds = {"detect": "key frames", "score": "key frames", "all": "seconds of video"}
    return [
        {
            "part": part,
            "counted": kinds.get(part, "frames"),
            "number": counted[part],
            "seconds": round(took.wall_s, 2),
            "cpu_s": round(took.cpu_s, 2),
            "per_second": round(counted[part] / took.wall_s, 1),
        }
        for part, took in typical.items()
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=int, default=20, help="of the film that is drawn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default=None)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--scale", default="mini")
    parser.add_argument("--detector")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    own = Predictor(args.method, weights=args.weights, scale=args.scale, detector=args.detector)
    with tempfile.TemporaryDirectory() as folder:
        video = args.video or Path(folder) / "film.mp4"
        if args.video is None:
            draw_film(video, args.seconds)
        table = pd.DataFrame(measure(own, video, rounds=args.rounds))
    table.insert(1, "method", own.choice.method.name)
    table["on"] = one_core(torch, av)
    put(table.to_csv(index=False), args.out)


if __name__ == "__main__":
    main()
