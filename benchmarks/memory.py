"""What the largest batch of AVA takes: ViT-L/14, 25 persons a frame, 80 labels, interest tokens.

    python benchmarks/memory.py [--frames 32] [--layers 2] [--out benchmarks/results/memory.json]

When scoring, memory that a layer needs is free for the next, so a tower of few layers peaks as high
as the whole, apart from its weights: these are counted. Every key frame has a window of its own,
the worst case. Peak memory is that of the GPU, or of the process above what it held before.
"""

import argparse
import json
import time
from pathlib import Path

import open_clip
import torch
from results_file import put
from st_clip import DEVICE, forget_peak, peak_gib

from stclip.inputs.batch import PersonBatch, Pixels, no_objects, pixels_of
from stclip.methods.clip.backbone import Backbone
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.runtime.device import machine

MODEL = "ViT-L-14-quickgelu"
INTEREST_TOKENS = 100


def tower(layers: int) -> STCLIP:
    """ST-CLIP on a random CLIP of ViT-L/14's widths."""
    config = open_clip.get_model_config(MODEL)
    assert config is not None
    vision = {**config["vision_cfg"], "layers": layers}
    clip = open_clip.CLIP(config["embed_dim"], vision, config["text_cfg"], quick_gelu=True)
    backbone = Backbone(clip, open_clip.get_tokenizer(MODEL))
    return STCLIP(backbone, STCLIP.Config(interest_tokens=INTEREST_TOKENS)).eval()


def make_batch(num_frames: int, num_people: int, window: int = 9) -> PersonBatch:
    """Random pictures, no frame in two windows."""
    frames = torch.arange(num_frames * window).view(num_frames, window)
    size = (3, 224, 224)
    mask = torch.ones_like(frames, dtype=torch.bool)
    images = torch.randint(0, 256, (num_frames * window, *size), dtype=torch.uint8)
    crops = torch.randint(0, 256, (num_frames * num_people, *size), dtype=torch.uint8)
    boxes = torch.zeros(num_frames * num_people, 4)
    return PersonBatch(
        pictures=Pixels(images),
        frames=frames,
        frame_mask=mask,
        key=frames[:, window // 2],
        crops=Pixels(crops),
        objects=no_objects(Pixels(crops)),
        memory=frames[:, :0],
        memory_mask=mask[:, :0],
        boxes=boxes,
        picture_boxes=boxes,
        box_sample=torch.arange(num_frames).repeat_interleave(num_people),
    ).to(DEVICE)


def weights_gib(layers: int) -> float:
    """All parameters, fp32."""
    with torch.device("meta"):
        return sum(p.numel() for p in tower(layers).parameters()) * 4 / 2**30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--persons", type=int, default=25)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    method = tower(options.layers).to(DEVICE)
    method.prepare_scoring()
    batch = make_batch(options.frames, options.persons)
    text = torch.randn(options.labels, method.backbone.embed_dim, device=DEVICE)
    forget_peak()
    before = peak_gib()
    start = time.perf_counter()
    with torch.inference_mode():
        logits = method(batch, text)
    assert torch.isfinite(logits).all()
    work = peak_gib() - before
    pictures = sum(pixels_of(p).nbytes for p in (batch.pictures, batch.crops)) / 2**30
    weights = weights_gib(24)
    found = {
        "machine": machine(),
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU",
        **{k: getattr(options, k) for k in ("frames", "persons", "labels", "layers")},
        "interest tokens": INTEREST_TOKENS,
        "seconds": time.perf_counter() - start,
        "working GiB": work,
        "pictures GiB": pictures,
        "weights of 24 layers GiB": weights,
        "all GiB": work + pictures + weights,
    }
    put(json.dumps(found, indent=2) + "\n", options.out)


if __name__ == "__main__":
    main()
