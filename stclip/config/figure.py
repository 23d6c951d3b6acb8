"""Reads and checks config/figures/*.yaml: which run a figure of the paper shows."""

from pathlib import Path

from pydantic import Field

from stclip.config.names import check_form, pick
from stclip.config.resolve import checked, load_dataset, load_method, naming
from stclip.config.resolved import as_resolved
from stclip.config.strict import Strict
from stclip.config.table import RunName
from stclip.config.yaml_file import read_yaml


class Figure(Strict):
    """A key frame of a run on which boxes are counted as wrong that show persons."""

    title: str
    """what it is; above the picture"""
    note: str
    """what it shows; below the title"""
    dataset: str
    """what its run is of"""
    family: str = ""
    """of label splits; default: the data set's"""
    split: str
    """label split, in quotes, as it is a name"""
    method: str
    """a method, or `METHOD+VARIANT`"""
    seed: int = Field(default=0, ge=0)
    """of the run"""
    boxes: str = "detected"
    """box source"""

    @property
    def run(self) -> RunName:
        """The run that it shows."""
        return RunName(self.dataset, self.family, self.split, self.method, self.seed)


def load_figure(folder: Path, figure: str, *, scale: str) -> Figure:
    """A figure of `folder`/figures; what is left open is that of its data set.

    Raises:
        ConfigError: something in it is unknown or refused.
    """
    check_form(figure, what="figure")
    path = folder / "figures" / f"{figure}.yaml"
    config = checked(Figure, read_yaml(path), str(path))
    with naming(str(path)):
        data = load_dataset(folder, config.dataset, scale=scale)
        pick(data.boxes, config.boxes, what=f"box source of {config.dataset}")
        load_method(folder, config.method, dataset=config.dataset, scale=scale)
    update = {"family": config.family or data.family}
    return as_resolved(f"figure {figure} at scale {scale}", config.model_copy(update=update))
