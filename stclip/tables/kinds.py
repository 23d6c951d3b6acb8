"""From a table's settings and the files that its rule names to its cells, by kind of table."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.config import load_scale
from stclip.config.drawn_tables import LatencyTable, PartsTable
from stclip.config.resolved import as_resolved
from stclip.config.table import (
    AblationTable,
    CostsTable,
    DetectorsTable,
    MainTable,
    Table,
    caption_of,
    load_table,
    of_splits,
)
from stclip.costs.measured import Cost, Latency, PartCost, read_costs
from stclip.detect.quality import read_quality
from stclip.errors import ConfigError
from stclip.evaluate.evaluate import METRICS_FILE, read_run
from stclip.storage.files import read_json
from stclip.tables.ablation_table import build_ablation
from stclip.tables.cost_table import build_costs
from stclip.tables.detector_table import build_detectors, published_shares
from stclip.tables.latency_table import build_latency
from stclip.tables.main_table import build_main
from stclip.tables.parts_table import build_parts
from stclip.tables.table_files import write_table

Loader = Callable[[str], Table]  # of another table, by its name
# settings, files, the scale's name, whether the paper's values are shown, other tables
Builder = Callable[[Any, Sequence[Path], str, bool, Loader], pd.DataFrame]


def make_table(
    name: str,
    files: Sequence[Path],
    out: Path,
    *,
    config: Path,
    scale: str,
    only: Sequence[str] = (),
) -> None:
    """Write a table of config/tables as csv, md and tex.

    Args:
        name: of the table.
        files: what it is made of: metrics.json files, measured costs, quality files.
        out: the csv.
        config: folder of the YAML files.
        scale: its name.
        only: those of its label splits that it shows; none named: all.

    Raises:
        ConfigError: settings that contradict one another. DataError: a file is missing, damaged or
            of something else.
    """
    load = partial(load_table, config, scale=scale)
    table = of_splits(load(name), only, where=f"table {name}")
    build, text_columns = BUILDERS[type(table)]
    shown = as_resolved(f"scale {scale}", load_scale(config, scale).shown)
    frame = build(table, files, scale, shown.published, load)
    caption = caption_of(config, table, scale=scale)
    write_table(frame, out, text_columns=text_columns, caption=caption)


def _of_runs(build: Callable[..., pd.DataFrame]) -> Builder:
    """A table of runs and their replicates."""

    def built(
        table: Any, files: Sequence[Path], _: str, published: bool, __: Loader
    ) -> pd.DataFrame:
        found = [read_run(path.parent) for path in files]
        runs, replicates = ([run[side] for run in found] for side in (0, 1))
        return build(table, runs, replicates, published=published)

    return built


def _measured(files: Sequence[Path], command: str) -> Path:
    """The only file that is not of a run."""
    measured = [path for path in files if path.name != METRICS_FILE]
    if len(measured) != 1:
        raise ConfigError(
            f"a table of this kind needs one file from `stclip {command}`, got {measured}."
        )
    return measured[0]


def _costs(
    table: CostsTable, files: Sequence[Path], _: str, published: bool, __: Loader
) -> pd.DataFrame:
    where, costs = read_costs(_measured(files, "costs"), Cost)
    runs = [read_json(path) for path in files if path.name == METRICS_FILE]
    return build_costs(costs, runs, config=table, where=where, published=published)


def _parts(
    table: PartsTable, files: Sequence[Path], scale: str, published: bool, _: Loader
) -> pd.DataFrame:
    _where, costs = read_costs(_measured(files, "parts"), PartCost)  # counts of no machine
    return build_parts(costs, config=table, scale=scale, published=published)


def _latency(
    table: LatencyTable, files: Sequence[Path], scale: str, _: bool, __: Loader
) -> pd.DataFrame:
    where, found = read_costs(_measured(files, "latency"), Latency)
    return build_latency(found, config=table, scale=scale, where=where)


def _detectors(
    table: DetectorsTable, files: Sequence[Path], _scale: str, published: bool, load: Loader
) -> pd.DataFrame:
    contents = [read_quality(path) for path in files]
    shares = {}
    for about, _rows in contents:
        share = table.share.get(about["dataset"])
        if share is not None and published:
            of_paper = load(share.table)
            if not isinstance(of_paper, MainTable):
                raise ConfigError(f"table {share.table!r} is of kind {of_paper.kind}, not main.")
            shares[about["dataset"]] = published_shares(of_paper, share)
    return build_detectors(contents, shares)


BUILDERS: dict[type[Table], tuple[Builder, int]] = {  # and how many columns are text
    MainTable: (_of_runs(build_main), 2),
    AblationTable: (_of_runs(build_ablation), 1),
    CostsTable: (_costs, 1),
    DetectorsTable: (_detectors, 3),
    PartsTable: (_parts, 1),
    LatencyTable: (_latency, 1),
}
