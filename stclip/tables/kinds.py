"""From a table's settings and the files that its rule names to its cells, by kind of table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.config.table import (
    AblationTable,
    CostsTable,
    DetectorsTable,
    MainTable,
    Table,
    caption_of,
    load_table,
    shows_published,
)
from stclip.costs.measured import read_costs
from stclip.detect.quality import read_quality
from stclip.errors import ConfigError
from stclip.evaluate.evaluate import METRICS_FILE, read_run
from stclip.storage.files import read_json
from stclip.tables.ablation_table import build_ablation
from stclip.tables.cost_table import build_costs
from stclip.tables.detector_table import build_detectors, published_shares
from stclip.tables.main_table import build_main
from stclip.tables.table_files import write_table

Builder = Callable[[Any, Sequence[Path], Path, str], tuple[pd.DataFrame, int]]


def make_table(name: str, files: Sequence[Path], out: Path, *, config: Path, scale: str) -> None:
    """Write a table of config/tables as csv, md and tex.

    Args:
        name: of the table.
        files: what it is made of: metrics.json files, measured costs, quality files.
        out: the csv.
        config: folder of the YAML files.
        scale: its name.

    Raises:
        ConfigError: settings that contradict one another. DataError: a file is missing, damaged or
            of something else.
    """
    table = load_table(config, name, scale=scale)
    frame, text_columns = BUILDERS[type(table)](table, files, config, scale)
    caption = caption_of(config, table, scale=scale)
    write_table(frame, out, text_columns=text_columns, caption=caption)


def _main(
    table: MainTable, files: Sequence[Path], config: Path, scale: str
) -> tuple[pd.DataFrame, int]:
    runs, replicates = _runs(files)
    shown = shows_published(config, scale=scale)
    return build_main(table, runs, replicates, published=shown), 2


def _ablation(
    table: AblationTable, files: Sequence[Path], config: Path, scale: str
) -> tuple[pd.DataFrame, int]:
    runs, replicates = _runs(files)
    shown = shows_published(config, scale=scale)
    return build_ablation(table, runs, replicates, published=shown), 1


def _costs(
    table: CostsTable, files: Sequence[Path], config: Path, scale: str
) -> tuple[pd.DataFrame, int]:
    measured = [path for path in files if path.name != METRICS_FILE]
    if len(measured) != 1:
        raise ConfigError(f"a table of costs needs one file from `stclip costs`, got {measured}.")
    where, costs = read_costs(measured[0])
    runs = [read_json(path) for path in files if path.name == METRICS_FILE]
    shown = shows_published(config, scale=scale)
    return build_costs(costs, runs, config=table, where=where, published=shown), 1


def _detectors(
    table: DetectorsTable, files: Sequence[Path], config: Path, scale: str
) -> tuple[pd.DataFrame, int]:
    contents = [read_quality(path) for path in files]
    shares = {}
    for about, _ in contents:
        share = table.share.get(about["dataset"])
        if share is not None and shows_published(config, scale=scale):
            of_paper = load_table(config, share.table, scale=scale)
            if not isinstance(of_paper, MainTable):
                raise ConfigError(f"table {share.table!r} is of kind {of_paper.kind}, not main.")
            shares[about["dataset"]] = published_shares(of_paper, share)
    return build_detectors(contents, shares), 3


def _runs(files: Sequence[Path]) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    found = [read_run(path.parent) for path in files]
    return [run for run, _ in found], [replicates for _, replicates in found]


BUILDERS: dict[type[Table], Builder] = {
    MainTable: _main,
    AblationTable: _ablation,
    CostsTable: _costs,
    DetectorsTable: _detectors,
}
