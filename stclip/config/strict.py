"""What all settings have in common: unknown keys and values without meaning are refused, in words.

Text that YAML does not take for a number or a truth value (`7e-2`, "4", 'no') is read as what it
means; a truth value where a number belongs, and a number that is infinite, are refused.
"""

from collections.abc import Collection, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from stclip.config.names import known_names
from stclip.errors import ConfigError


class Strict(BaseModel):
    """A frozen model that refuses unknown keys.

    The text below a field is its meaning; `config/README.md` shows it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, content: Any) -> Any:
        for name, value in content.items() if isinstance(content, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields:
                annotation = cls.model_fields[name].annotation
                kinds = {annotation, *get_args(annotation)}  # of a union each
                if kinds & {int, float} and bool not in kinds:
                    raise ValueError(f"{name}: a number is needed, found {value!r}")
        return content


class Params(Strict):
    """The own settings of a method or a detector: its `Config`.

    Raises:
        ConfigError: unknown or missing params, or a value outside its type, range or choices.
    """

    def __init__(self, **params: Any) -> None:
        """Check and keep `params`; the others have their defaults."""
        try:
            super().__init__(**params)
        except ValidationError as error:
            raise refusal(error, type(self), known=type(self).model_fields) from None


def refusal(error: ValidationError, config: type[Any], *, known: Collection[str]) -> ConfigError:
    """Says in one line what is wrong with the params of a `Config`."""
    unknown = [str(e["loc"][0]) for e in error.errors() if e["type"] == "extra_forbidden"]
    if unknown:
        return unknown_params(unknown, config, known=known)
    return ConfigError(f"params of {_owner(config)}: " + "; ".join(map(complaint, error.errors())))


def unknown_params(
    names: Sequence[str], config: type[Any], *, known: Collection[str]
) -> ConfigError:
    """Says which params a `Config` has."""
    told = known_names(names[0], known, lead="it takes")
    return ConfigError(f"unknown params {list(names)} for {_owner(config)}; {told}")


def _owner(config: type[Any]) -> str:
    """`Method` of `Method.Config` and of `MethodConfig`."""
    return config.__qualname__.removesuffix(".Config").removesuffix("Config").rpartition(".")[2]


def complaint(e: ErrorDetails) -> str:
    """A key, what it should be and what was found there."""
    found = "" if e["type"] in {"missing", "extra_forbidden"} else f", found {e['input']!r}"
    if e["type"] == "value_error":  # of our own validators, which say what they found
        text, found = str(e["ctx"]["error"]), ""
    else:
        text = e["msg"]
    return ": ".join(filter(None, [".".join(map(str, e["loc"])), text + found]))
