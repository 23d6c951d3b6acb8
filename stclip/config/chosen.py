"""config.yaml and --config, what is built: the names in them. The JSON schema checks the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from stclip.config.names import check_name, check_once
from stclip.config.seeds import expand_seeds
from stclip.errors import ConfigError


def check_chosen(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their ranges of seeds as numbers.

    Args:
        given: config.yaml, overlaid with --config.
        known: `properties` of its JSON schema.

    Raises:
        ConfigError: an unknown key or stage, a name twice, a name in place of a list, or a range of
            seeds that is none.
    """
    for key in given:
        check_name(key, known, what="key of config.yaml or --config")
    stages = known["stage_version"]["properties"]
    for stage in dict(given.get("stage_version") or {}):
        check_name(stage, stages, what="stage of stage_version:")
    settings = {**given, "seeds": expand_seeds(given.get("seeds", []))}
    for key, value in settings.items():
        words = [choice["const"] for choice in known[key].get("anyOf", []) if "const" in choice]
        if isinstance(value, list):  # a run, or a table's row, would be there twice
            check_once(value, what=f"{key} of config.yaml or --config")
        elif (words or "$ref" in known[key]) and value not in words:
            raise ConfigError(
                f"{key} of config.yaml or --config is {value!r}; needed is "
                f"{''.join(f'{word!r} or ' for word in words)}a list: '{key}=[{value}]'."
            )
    return settings


def only_splits(own: Sequence[str], chosen: Sequence[str], *, where: str) -> list[str]:
    """Those of its own label splits that are chosen; none chosen: all.

    Raises:
        ConfigError: none of them is chosen.
    """
    kept = [split for split in own if not chosen or split in chosen]
    if not kept:
        raise ConfigError(
            f"{where}: none of its splits {list(own)} is among the chosen {list(chosen)}."
        )
    return kept
