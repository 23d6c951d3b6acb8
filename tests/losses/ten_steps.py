"""Ten training steps of a method in the tests' tiny world."""

from pathlib import Path

import yaml
from conftest import METHODS, ROOT, World

from stclip.storage.files import read_json_lines
from stclip.train.train import train

RELATIVE = 1e-4  # processors round differently; a mistake moves a loss by more
STEPS = {"iterations": 10, "batch_frames": 2, "lr": 1e-3, "warmup_iterations": 2}


def _is_recorded(name: str) -> bool:
    """Every method that trains, and the variants of ST-CLIP that change the model."""
    method, _, variant = name.partition("+")
    path = ROOT / "config" / "methods" / f"{method}.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    if variant:
        return method == "st_clip" and "params" in settings["variants"][variant]
    return bool(settings["train"]["iterations"])


TRAINED = [name for name in METHODS if _is_recorded(name)]


def ten_losses(world: World, name: str, out: Path) -> list[float]:
    """The loss of each step."""
    train(world.method(name, **STEPS), world.data, split=world.split, seed=0, out=out)
    return [line["loss"] for line in read_json_lines(out / "log.jsonl")]
