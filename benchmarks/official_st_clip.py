"""ST-CLIP as it runs here against the official code itself, from a clone of its repository.

    git clone https://github.com/webber2933/ST-CLIP && git -C ST-CLIP checkout 6bc4cfd
    python benchmarks/official_st_clip.py ST-CLIP [--precision fp32 bf16] [--frames 16]
        [--persons 1 3] [--rounds 3] [--backbone ViT-B-16-quickgelu] [--out FILE]

The clone's licence is non-commercial: it is imported where it lies and nothing of it is copied
(`official_clone.py` holds what is assumed of it). Three ways take turns on the same random weights
and drawn clips, in one process: the official forward, its imitation (`released_st_clip.py`, which
`st_clip.py` compares with) and ours. Frames are decoded beforehand for all three; resizing is part
of all. Medians of the rounds after a first one that warms up, by the clock and of the processor;
beside them the largest difference of the logits from the official ones.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from official_clone import COMMIT, CloneError, Official
from PIL import Image
from released_st_clip import Released, png
from results_file import put
from st_clip import CLIP_FRAMES, DEVICE, LABELS, Batched, Data, draw, make_method
from timing import Raced, race
from torch import Tensor

from stclip.checkpoints.official import CLIP_BLOCK, CLIP_ENDS
from stclip.inputs.batch import PersonSample
from stclip.methods.official_weights import official_state
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.runtime.device import machine

AT_ONCE = 8  # key frames in one call of the official forward, its batch
AGREES = 1e-3  # of logits in fp32, which lie within 1 / 0.07


def clip_tensors(method: STCLIP) -> dict[str, Tensor]:
    """The frozen CLIP of a method under OpenAI's names, for the official code to load."""
    clip = {name.replace("base_layer.", ""): t for name, t in
            method.backbone.clip.state_dict().items()}  # fmt: skip
    layers = len(method.backbone.blocks), len(method.backbone.clip.transformer.resblocks)
    blocks = [
        f"{tower}.resblocks.{layer}.{part}"
        for tower, count in zip(("visual.transformer", "transformer"), layers, strict=True)
        for layer in range(count)
        for part in CLIP_BLOCK
    ]
    return {name: clip[name].detach().cpu() for name in (*CLIP_ENDS, *blocks)}


def with_official_weights(official: Official, backbone: str, folder: Path) -> tuple[STCLIP, STCLIP]:
    """Our method twice with the official model's tensors: as it is, and ready to score."""
    file = folder / "official.pth"
    torch.save(official.checkpoint(), file)
    methods = []
    for ready in (False, True):
        method = make_method(backbone).eval()
        state = official_state(method, file, name="st_clip", backbone=backbone, pretrained=None)
        method.load_state_dict(state)
        if ready:
            method.prepare_scoring()
        methods.append(method)
    return methods[0], methods[1]


class DecodedReleased(Released):
    """The imitation on frames that are decoded already."""

    def __init__(self, method: STCLIP, data: Data, pictures: Mapping[str, Image.Image]) -> None:
        """`pictures`: by path."""
        super().__init__(method, LABELS, data.pngs)
        self.pictures = pictures

    def _open(self, sample: PersonSample, frame: int) -> Image.Image:
        return self.pictures[str(png(self.pngs, sample.clip, frame))].convert("RGB")


def decoded(data: Data) -> dict[str, Image.Image]:
    """Every frame, by the path of its file."""
    found = {}
    for path in sorted(data.pngs.rglob("*.png")):
        with Image.open(path) as file:
            found[str(path)] = file.convert("RGB")
    return found


def official_logits(official: Official, samples: Sequence[PersonSample], pngs: Path) -> Tensor:
    """All samples, some in a call."""
    parts = [samples[i : i + AT_ONCE] for i in range(0, len(samples), AT_ONCE)]
    return torch.cat([
        official.logits(
            [png(pngs, sample.clip, sample.key_frame) for sample in part],
            [torch.from_numpy(sample.boxes_xyxy) for sample in part],
        )
        for part in parts
    ])  # fmt: skip


def as_rows(
    raced: Mapping[str, Raced[Tensor]], *, frames: int, persons: int
) -> list[dict[str, str]]:
    """A row for each way; the first is what the others are compared with.

    Raises:
        SystemExit: the logits differ by more than rounding, so it is not the same model.
    """
    first = raced["official"]
    rows = []
    for name, own in raced.items():
        off = (own.result.float() - first.result.float()).abs().max().item()
        if name != "bf16" and not off < AGREES:
            raise SystemExit(
                f"{name}: logits differ from the official ones by {off:.2g}, expected less than "
                f"{AGREES}: the clone computes another model than commit {COMMIT}."
            )
        rows.append({
            "persons": str(persons), "way": name, "key frames": str(frames),
            "seconds": f"{own.took.wall_s:.3g}", "cpu s": f"{own.took.cpu_s:.3g}",
            "speed-up": f"{first.took.wall_s / own.took.wall_s:.2f}",
            "largest difference": f"{off:.1e}",
        })  # fmt: skip
    return rows


def compare(
    official: Official, methods: tuple[STCLIP, STCLIP], data: Data, options: argparse.Namespace,
    *, persons: int,
) -> list[dict[str, str]]:  # fmt: skip
    """The rows of scoring with so many persons a key frame."""
    samples = data.samples(options.frames, persons=persons, scattered=False)
    pictures = decoded(data)
    plain, merged = methods
    imitation, text = DecodedReleased(plain, data, pictures), merged.encode_labels(LABELS)

    def imitated() -> Tensor:
        parts = [samples[i : i + AT_ONCE] for i in range(0, len(samples), AT_ONCE)]
        return torch.cat([imitation(part) for part in parts])

    ways: dict[str, Callable[[], Tensor]] = {
        "official": lambda: official_logits(official, samples, data.pngs),
        "imitation": imitated,
    }
    for precision in options.precision:
        ours = Batched(merged, data, precision=precision, workers=0)
        ways[precision] = lambda ours=ours: torch.cat(ours(samples, text, size=32))
    with torch.inference_mode(), official.decoded_beforehand(pictures):
        raced = race(ways, rounds=options.rounds, warm_up=1)
    return as_rows(raced, frames=options.frames, persons=persons)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clone", type=Path, help="folder of the official repository")
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--persons", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(clip_tensors(make_method(options.backbone)), folder / "clip.pt")
        try:
            official = Official(options.clone, LABELS, folder / "clip.pt", device=DEVICE)
        except CloneError as error:
            parser.error(str(error))
        with torch.no_grad():
            for tensor_name, tensor in official.model.named_parameters():
                if "lora_B" in tensor_name:  # starts at 0: LoRA would not be seen
                    tensor.normal_(std=0.02)
        methods = with_official_weights(official, options.backbone, folder)
        data = draw(folder, num_clips=max(1, -(-options.frames // CLIP_FRAMES)))
        rows = [
            row
            for persons in options.persons
            for row in compare(official, methods, data, options, persons=persons)
        ]
    about = (
        f"{options.backbone}, official code at {official.commit}, medians of {options.rounds} "
        f"rounds, {torch.get_num_threads()} threads, torch {torch.__version__}, {machine()}"
    )
    if official.commit != COMMIT:
        sys.stderr.write(f"the clone is at {official.commit}; {COMMIT} was known\n")
    put(pd.DataFrame(rows).assign(on=about).to_csv(index=False), options.out)


if __name__ == "__main__":
    main()
