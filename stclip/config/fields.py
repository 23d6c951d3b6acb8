"""What fields of several records share: names given once, label templates, local paths, targets."""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stclip.config.names import check_form, check_once
from stclip.config.sources import sources_of
from stclip.config.strict import Strict


def _each_once(names: Any) -> Any:
    check_once(names, what="names")
    return names


def _well_formed(names: Any) -> Any:
    for name in names:
        check_form(name, what="name")
    return names


def _one_place_each(templates: list[str]) -> list[str]:
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong:
        raise ValueError(f"{wrong}: each needs exactly one {{}}, where the label goes")
    return templates


def _expanded(written: str) -> str:
    """Replace `~` and `$NAME`, as a shell does."""
    try:
        path = os.path.expandvars(Path(written).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{written}: {error}") from None
    if re.search(r"\$(\w|\{)", path):
        raise ValueError(f"{written}: names an environment variable that is not set")
    return path


Once = AfterValidator(_each_once)
Formed = AfterValidator(_well_formed)  # names in a list, or keys, that stand in paths and commands
# Texts around a label, of which {} is the place; the bare label by default
Templates = Annotated[list[str], Field(min_length=1), AfterValidator(_one_place_each), Once]
BARE_LABEL = ["{}"]
Precision = Literal["fp32", "bf16", "auto"]  # as asked; `stclip.runtime.precision` decides
LocalPath = Annotated[str, AfterValidator(_expanded)]  # of a file or folder that is there already


class OfTarget(Strict):
    """What has a `target: module:name` and its `params`; the fields keep their places."""

    if TYPE_CHECKING:
        target: str
        params: dict[str, Any]

    @cached_property
    def sources(self) -> dict[str, str]:
        """Somebody's own code that it runs; raises as `sources_of`."""
        return sources_of(self.target, self.params)
