"""Records the losses anew: `python tests/losses/record.py`, after a change on purpose."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import make_world
from ten_steps import RECORDED, TRAINED, ten_losses


def main() -> None:
    """Write losses.json."""
    losses = {}
    for name in TRAINED:
        with tempfile.TemporaryDirectory() as folder:
            world = make_world(Path(folder))
            losses[name] = ten_losses(world, name, Path(folder) / "run")
    RECORDED.write_text(json.dumps(losses, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
