"""Finds what a YAML `target: module:name` names, and checks what it is to be given.

The own `Config` of a method or detector is looked for beside it first, in a module that needs no
PyTorch: for `baselines.iclip:ICLIP` it is `ICLIPConfig` of `baselines.iclip_config`. So params are
checked when the workflow is parsed, in no time. A class without such a module is imported.
"""

import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Collection, Mapping
from typing import Any, get_type_hints

from pydantic import (
    ConfigDict,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)

from stclip.config.strict import Params, Strict, refusal, unknown_params
from stclip.errors import ConfigError


def resolve_target(target: str) -> Any:
    """Import `module:name`.

    Raises:
        ConfigError: the module or the name does not exist.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"target {target!r}: {error}; it must be module:name.") from None


def config_class(target: str) -> type[Any]:
    """The own `Config` of a method or detector, without importing it where that can be.

    Raises:
        ConfigError: the target, or its Config, does not exist.
    """
    module, _, name = target.partition(":")
    try:
        beside = importlib.util.find_spec(f"{module}_config")
    except (ImportError, ValueError):
        beside = None
    if beside is not None:
        found = getattr(importlib.import_module(beside.name), f"{name}Config", None)
        if found is not None:
            return found
    try:
        return resolve_target(target).Config
    except AttributeError:
        raise ConfigError(f"target {target!r} has no Config; see docs/add-a-method.md.") from None


def make_config(target: type[Any], params: Mapping[str, Any], *, where: str) -> Any:
    """The own Config of a method or detector from YAML `params`.

    Raises:
        ConfigError: unknown, missing or refused params.
    """
    return _made(target.Config, params, where=where)


def resolved_params(target: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` as the target's own Config reads them, defaults filled in.

    Raises:
        ConfigError: unknown, missing or refused params; or the target does not exist.
    """
    config = config_class(target)
    return params_of(_made(config, params))


def params_of(config: Any) -> dict[str, Any]:
    """The values of a Config, as they can stand in YAML."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def _made(config: type[Any], params: Mapping[str, Any], *, where: str = "") -> Any:
    try:
        if issubclass(config, Params):
            return config(**params)
        return _of_dataclass(config, params)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None


def _of_dataclass(config: type[Any], params: Mapping[str, Any]) -> Any:
    """A Config that is a dataclass is checked by its types too; a `Params` can say more."""
    if not dataclasses.is_dataclass(config):
        raise ConfigError(f"{config.__qualname__} must be a stclip.config.Params.")
    known = {f.name for f in dataclasses.fields(config)}
    unknown = sorted(params.keys() - known)
    if unknown:
        raise unknown_params(unknown, config, known=known)
    try:
        return TypeAdapter(config).validate_python(dict(params))
    except ValidationError as error:
        raise refusal(error, config, known=known) from None
    except PydanticUserError as error:
        raise ConfigError(f"{config.__qualname__}: {error}") from None


class _Arguments(Strict):
    """Base of what a function takes."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


def call_target(
    target: str, *given: Any, params: Mapping[str, Any], where: str, **also: Any
) -> Any:
    """Call the function that YAML names; its params are checked as `check_arguments` does.

    Raises:
        ConfigError: as there; or the function hands on a param that another does not take.
    """
    arguments = check_arguments(target, params, where=where, given=len(given), also=also)
    try:
        return resolve_target(target)(*given, **also, **arguments)
    except TypeError as error:
        if not any(f"unexpected keyword argument '{name}'" in str(error) for name in params):
            raise
        raise ConfigError(f"{where}: {target}: {error}.") from None


def check_arguments(
    target: str,
    params: Mapping[str, Any],
    *,
    where: str,
    given: int,
    also: Collection[str] = (),
) -> dict[str, Any]:
    """Check `params` by the names and types of the function `module:name`, which is imported.

    Args:
        target: the function.
        params: keyword arguments from YAML.
        where: stands in front of what is wrong.
        given: how many positional arguments others give.
        also: names of keyword arguments that others give.

    Returns:
        `params` as the function's types read them.

    Raises:
        ConfigError: unknown or missing arguments, one of another type, or there is no such target;
            or it does not take what others give.
    """
    function = resolve_target(target)
    taken = list(inspect.signature(function).parameters.values())[given:]
    if any(p.kind is p.VAR_KEYWORD for p in taken):  # only the function knows what it takes
        return dict(params)
    lacking = sorted({*also} - {p.name for p in taken})
    if lacking:
        raise ConfigError(f"{where}: {target} must take the keyword arguments {lacking}, as given.")
    try:
        types = get_type_hints(function, include_extras=True)
    except NameError:  # of types that are imported for type checkers alone
        types = {}
    fields: dict[str, Any] = {
        p.name: (types.get(p.name, Any), ... if p.default is p.empty else p.default)
        for p in taken
        if p.name not in also
    }
    model = create_model(target, __base__=_Arguments, **fields)
    try:
        checked = model.model_validate(dict(params))
    except ValidationError as error:
        raise ConfigError(f"{where}: {refusal(error, model, known=fields)}") from None
    return {name: getattr(checked, name) for name in params}
