"""How many tokens a CLIP's text tower takes, by its name: open_clip's settings without PyTorch."""

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from stclip.config.clip_models import read_model_config
from stclip.config.package_files import path_of

ENDS = 2  # tokens of start and end


@lru_cache
def most_tokens(model: str) -> int | None:
    """Tokens that a text may have, or None where the model does not say it beforehand.

    Args:
        model: an open_clip model, or the path of a model config.

    Raises:
        ConfigError: there is no such model config.
    """
    if model.endswith(".json"):
        config = read_model_config(path_of(model))[0]
    else:
        spec = find_spec("open_clip")  # finds the package without importing it
        places = spec.submodule_search_locations if spec else None
        path = Path((places or ["."])[0], "model_configs", f"{model}.json")
        if not path.exists():
            return None  # an unknown model is refused where it is built
        config = json.loads(path.read_text("utf-8"))
    length = config["text_cfg"].get("context_length")
    return None if length is None else int(length) - ENDS
