"""Builds the page: one HTML file that holds all it shows and asks nobody for anything.

A pure function of the runs' folders and the tables' files: no clock, no host name, same inputs,
same bytes. Everything that comes from a file is escaped by the template, but for our own figures.
"""

import base64
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from stclip.config import Scale
from stclip.errors import DataError
from stclip.evaluate.evaluate import METRICS_FILE
from stclip.records import LABEL_GROUPS
from stclip.report import svg_figures as figures
from stclip.report.page_tables import PageTable, class_table, cost_of_errors
from stclip.report.predictions import PREDICTIONS
from stclip.report.run_rows import CONFIG_FILE, LOG_FILE, DatasetRuns, Row, Run
from stclip.storage.files import whole_file
from stclip.tables.aggregate import ASSUMPTION_ORDER

BROWSED = "browse"  # folder beside the page: pages of predictions, of `stclip browse`
WEBP = {"quality": 60, "method": 2}  # of the pictures of predictions; the files keep their own


@dataclass(frozen=True)
class Picture:
    """A run's predictions."""

    run: Run
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class DatasetPart:
    """What the page shows of one data set."""

    title: str
    data: DatasetRuns
    best: list[tuple[Row, float, Row | None, float]]  # of each assumption: the first, the second
    splits: Markup
    base: Markup
    num_classes: dict[str, str]  # by label group
    classes: list[PageTable]
    errors: Markup
    costs: PageTable
    training: Markup | None
    pictures: dict[str, list[Picture]]  # by split, best first


def build_page(
    datasets: Sequence[tuple[str, DatasetRuns]],
    tables: Sequence[PageTable],
    *,
    scale: Scale,
    out: Path,
) -> str:
    """The page's HTML.

    Args:
        datasets: titles and runs.
        tables: those of the tables stage.
        scale: whose results they are.
        out: where the page will lie; links to the runs' files start there, and those pages of
            predictions that are there by then are linked.
    """
    environment = Environment(
        loader=PackageLoader("stclip.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip

    def link(run: Run, name: str) -> str:
        return quote(Path(os.path.relpath(run.folder / name, out.parent)).as_posix())

    def browsed(run: Run) -> str | None:
        """The link to its page of predictions, if there is one."""
        about = run.about
        names = [about["dataset"], about["family"], about["split"], about["method"]]
        path = Path(BROWSED, *names, f"{about['seed']}.html")
        return quote(path.as_posix()) if (out.parent / path).is_file() else None

    runs = [run for _, data in datasets for run in data.runs]
    return environment.get_template("page.html.j2").render(
        scale=scale,
        parts=[
            _part(title, data, number) for number, (title, data) in enumerate(datasets, start=1)
        ],
        tables=tables,
        made_by=_made_by(runs),
        settings={_settings_id(run): run for run in runs},
        settings_id=_settings_id,
        link=link,
        browsed=browsed,
        files=[METRICS_FILE, LOG_FILE, CONFIG_FILE],
        picture_file=PREDICTIONS,
        labels=LABEL_GROUPS,
    )


def write_page(out: Path, content: str) -> None:
    """Write the page, whole or not at all."""
    with whole_file(out) as temporary:
        temporary.write_text(content, "utf-8")


def _part(title: str, data: DatasetRuns, number: int) -> DatasetPart:
    errors = [row.errors(data.boxes) for row in data.rows]
    training = figures.training_figure(data, f"training-{number}")
    return DatasetPart(
        title=title,
        data=data,
        best=_best(data),
        splits=Markup(figures.split_figure(data, f"splits-{number}")),
        base=Markup(figures.base_figure(data, f"base-{number}")),
        num_classes={labels: _num_classes(data, labels) for labels in LABEL_GROUPS},
        classes=[class_table(data, labels, f"{labels}-{number}") for labels in LABEL_GROUPS],
        errors=Markup(figures.error_figure(data.rows, errors, f"errors-{number}")),
        costs=cost_of_errors(data.rows, errors, f"costs-{number}"),
        training=None if training is None else Markup(training),
        pictures={
            split: [_picture(run) for run in _best_first(data, split)] for split in data.splits
        },
    )


def _num_classes(data: DatasetRuns, labels: str) -> str:
    """How many classes a label group has, a range where splits differ."""
    cells = [run.cell(data.boxes, labels, run.about["assumptions"][0]) for run in data.runs]
    numbers = {cell["num_classes"] for cell in cells}
    return " to ".join(map(str, sorted({min(numbers), max(numbers)})))


def _best(data: DatasetRuns) -> list[tuple[Row, float, Row | None, float]]:
    """Of every assumption the row with the highest average, and the next one."""
    found = []
    for assumption in ASSUMPTION_ORDER:
        averages = [
            (average, row)
            for row in data.rows
            if row.assumption == assumption
            and (average := row.average(data.boxes, "unseen", data.splits)) is not None
        ]
        ranked = sorted(averages, key=lambda pair: -pair[0])
        if ranked:
            second, other = ranked[1] if len(ranked) > 1 else (0.0, None)
            found.append((ranked[0][1], ranked[0][0], other, second))
    return found


def _best_first(data: DatasetRuns, split: str) -> list[Run]:
    """The runs of a split by what their pictures show."""

    def shown(run: Run) -> float:
        return -run.cell(data.boxes, "unseen", run.about["assumptions"][0])["mAP"]

    return sorted((run for run in data.runs if run.about["split"] == split), key=shown)


def _picture(run: Run) -> Picture:
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(run.picture)) as picture:
            picture.convert("RGB").save(buffer, "webp", **WEBP)
            width, height = picture.size
    except OSError as error:
        raise DataError(
            f"{run.folder / PREDICTIONS}: not a picture ({error}); run the predictions stage again."
        ) from None
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(run, f"data:image/webp;base64,{content}", width, height)


def _settings_id(run: Run) -> str:
    """Equal for runs of equal settings."""
    return f"settings-{hashlib.sha256(run.config.encode()).hexdigest()[:12]}"


def _made_by(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Everything that made the runs, each value once."""
    commits: list[Any] = [run.about.get("git_commit", "unknown") for run in runs]
    made_by = {"code (git commit)": commits, "seeds": [run.about["seed"] for run in runs]}
    for run in runs:
        for name, version in run.about.get("versions", {}).items():
            made_by.setdefault(name, []).append(version)
    return {name: list(dict.fromkeys(map(str, values))) for name, values in made_by.items()}
