"""How far the cosines that `stclip doctor` compares move: by rounding, and by a wrong activation.

    python benchmarks/known_cosines.py --out benchmarks/results/known_cosines.json

For the tiny CLIPs of the package: the same weights with other instruction sets and numbers of
threads, each in a process of its own, and with GELU in place of QuickGELU. For a ViT-B/16 of random
weights (600 MB of memory) the activation. Written is the largest change of the four cosines.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from stclip.config import BackboneConfig, load_scale
from stclip.config.package_files import path_of
from stclip.doctor.known_cosines import TOLERANCE, compute
from stclip.methods.clip.backbone import load_backbone
from stclip.runtime.device import machine
from stclip.storage.files import write_json

CONFIG = Path(__file__).parents[1] / "config"
OTHERS = (  # environments that PyTorch computes in otherwise
    {"OMP_NUM_THREADS": "2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
)


def by_backbone() -> dict[str, list[float]]:
    """The cosines of each tiny CLIP."""
    return {n: compute(b).cosines for n, b in load_scale(CONFIG, "mini").backbones.items()}


def moved(found: list[float], other: list[float]) -> float:
    """The largest change of a cosine."""
    return max(abs(a - b) for a, b in zip(found, other, strict=True))


def in_environment(variables: dict[str, str]) -> dict[str, list[float]]:
    """`by_backbone` in a process of its own."""
    command = [sys.executable, __file__, "--cosines", "--out", os.devnull]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def of_random_weights(folder: Path) -> float:
    """What the activation moves in a ViT-B/16 that nobody trained."""
    quick, gelu = "ViT-B-16-quickgelu", "ViT-B-16"
    torch.manual_seed(0)
    clip = load_backbone(BackboneConfig(model=quick, weights=None)).clip
    file = folder / "weights.safetensors"
    save_file({n: t.contiguous().clone() for n, t in clip.state_dict().items()}, file)
    of_each = [compute(BackboneConfig(model=m, weights=str(file))).cosines for m in (quick, gelu)]
    return moved(*of_each)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cosines", action="store_true", help="only print those of the tiny CLIPs")
    arguments = parser.parse_args()
    here = by_backbone()
    if arguments.cosines:
        sys.stdout.write(json.dumps(here))
        return
    elsewhere = [in_environment(variables) for variables in OTHERS]
    with tempfile.TemporaryDirectory() as name:
        folder, by_gelu = Path(name), {}
        for backbone, settings in load_scale(CONFIG, "mini").backbones.items():
            content = json.loads(path_of(settings.model).read_text("utf-8"))
            model = folder / f"{backbone}.json"
            model.write_text(json.dumps(content | {"quick_gelu": False}), "utf-8")
            gelu = BackboneConfig(model=str(model), weights=settings.weights)
            by_gelu[backbone] = moved(here[backbone], compute(gelu).cosines)
        by_gelu["ViT-B-16, random weights"] = of_random_weights(folder)
    by_rounding = {n: max(moved(here[n], other[n]) for other in elsewhere) for n in here}
    found = {"by_rounding": by_rounding, "by_gelu": by_gelu}
    rounded = {what: {n: float(f"{v:.1e}") for n, v in of.items()} for what, of in found.items()}
    write_json(arguments.out, {"machine": machine(), "tolerance": TOLERANCE, **rounded})


if __name__ == "__main__":
    main()
