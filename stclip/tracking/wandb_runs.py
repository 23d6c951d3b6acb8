"""Mirrors runs to Weights & Biases: offline, or as WANDB_MODE says (docs/tracking.md).

`log.jsonl` and `metrics.json` are the record. Whatever goes wrong here is one warning and never the
end of a run, and no server lets a run wait for long.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stclip.config import known_names
from stclip.config.hashes import config_hash
from stclip.errors import ConfigError
from stclip.storage.files import read_json

if TYPE_CHECKING:  # imported by `tracked`: a table must not wait for it
    import wandb

logger = logging.getLogger(__name__)

MODES = ("offline", "online", "disabled")
FINISHED = "finished"  # a file beside the data of a run that ended well and waits to be uploaded
PICTURES = ("predictions", "errors")  # {name}.png in a run's folder
CLASSES = "classes"  # the table of AP by class
REACH_S, INIT_S, FINISH_S = 10, 30, 120  # the longest waits for a server
# Nothing slow, nothing that names the machine, nothing that log and config say already.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "host": "-",
    "program": "stclip",
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "symlink": False,  # `latest-run`, over which jobs side by side would fight
}


class Tracker:
    """A run of W&B that begins when the first thing arrives; after a failure nothing more does."""

    def __init__(self, about: Mapping[str, Any], *, mode: str) -> None:
        """Use `tracked`."""
        self._about, self._mode = about, mode
        self._run: wandb.Run | None = None
        self._next_step = 0  # the first that W&B does not have

    def rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log lines of log.jsonl; the first call brings those of an interrupted try, if any.

        Online the run goes on where the server's history ends. Offline every try is written from
        its first line, so that the latest is whole and is uploaded alone.
        """
        self._try(lambda: self._log_rows(rows))

    def results(
        self, numbers: Mapping[str, float], media: Callable[[], dict[str, Any]] = dict
    ) -> None:
        """Set numbers of the summary, and log the tables and pictures that `media` makes."""
        self._try(lambda: self._log_results(numbers, media))

    def close(self, *, failed: bool) -> None:
        """End the run, and wandb's own process."""
        self._try(lambda: self._finish(failed=failed))
        close_wandb()

    def _try(self, what: Callable[[], None]) -> None:
        if self._mode == "disabled":
            return
        try:
            what()
        except Exception as error:  # wandb has many, and none may end a training
            logger.warning("W&B failed and is left alone (%r); the run's files are whole", error)
            self._mode = "disabled"

    def _begun(self, *, resume: bool) -> "wandb.Run":
        if self._run is None:
            self._run = run = _begin(self._about, online=self._mode == "online", resume=resume)
            self._next_step = run.step
            logger.info("W&B: %s", os.path.relpath(run.sync_dir) if run.offline else run.url)
        return self._run

    def _log_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        run = self._begun(resume=bool(rows))
        for row in rows:
            if row["step"] >= self._next_step:
                run.log(dict(row), step=int(row["step"]))

    def _log_results(
        self, numbers: Mapping[str, float], media: Callable[[], dict[str, Any]]
    ) -> None:
        run = self._begun(resume=False)
        run.summary.update(dict(numbers))
        if found := media():
            run.log(found)

    def _finish(self, *, failed: bool) -> None:
        if self._run is None:
            return
        waits = self._run.offline
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError:
            logger.warning(
                "W&B: the server did not take everything within %d s; `stclip sync` sends the rest",
                FINISH_S,
            )
            waits = True
        if waits and not failed:
            (Path(self._run.sync_dir) / FINISHED).touch()


def tracking_mode() -> str:
    """One of `MODES`, as WANDB_MODE says.

    Raises:
        ConfigError: it says something else.
    """
    mode = os.environ.get("WANDB_MODE") or MODES[0]
    if mode not in MODES:
        raise ConfigError(f"WANDB_MODE is {mode!r}; {known_names(mode, MODES)}")
    return mode


@contextmanager
def tracked(job: str, head: Mapping[str, Any], *, run: str) -> Iterator[Tracker]:
    """A run of W&B for the work in the block; import PyTorch there, if at all.

    wandb imports much as a run begins, which takes 0.3 s before PyTorch is there and seconds after:
    it has pydantic look through all modules.

    Args:
        job: `train`, `evaluate` or `costs`.
        head: of `stclip.runtime.provenance.provenance`, W&B's config.
        run: the hash of what trained (`stclip.train.run_folder.run_hash`).

    Raises:
        ConfigError: as `tracking_mode`.
    """
    mode = tracking_mode()
    if mode != "disabled":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers, over the network
        importlib.import_module("wandb.sdk.launch")
    tracker, failed = Tracker(conventions(job, head, run=run), mode=mode), True
    try:
        yield tracker
        failed = False
    finally:
        tracker.close(failed=failed)


def track_evaluation(folder: Path, *, run: str) -> None:
    """Mirror what the evaluate stage wrote into the folder of a run."""
    from stclip.evaluate.evaluate import METRICS_FILE

    head = read_json(folder / METRICS_FILE)
    metrics = head.pop("metrics")
    with tracked("evaluate", head, run=run) as tracker:
        numbers = numbers_of(metrics) | split_columns(head, metrics)
        tracker.results(numbers, lambda: _media(folder, head))


def track_predictions(folder: Path, head: Mapping[str, Any], *, run: str) -> None:
    """Log the picture of a run's predictions, as a run of its own in the method's group."""
    with tracked("predictions", head, run=run) as tracker:
        tracker.results({}, lambda: _pictures(folder, ["predictions"]))


def project_of(scale: str) -> str:
    """The W&B project of a scale: numbers of different scales never stand side by side."""
    return f"stclip-{scale}"


def conventions(job: str, head: Mapping[str, Any], *, run: str) -> dict[str, Any]:
    """By what dashboards group; the same work has the same id and so is the same run of W&B."""
    names = {k: head[k] for k in ("scale", "dataset", "family", "split", "method", "seed")}
    scale, dataset, family, split, method, seed = names.values()
    return {
        "project": project_of(scale),
        "id": config_hash(names | {"job": job, "run": run}),
        "group": method,
        "job_type": job,
        "name": f"{method} {dataset} {family}/{split} seed {seed}",
        "tags": [scale, dataset, family, f"split {split}", method, f"seed {seed}"],
        "config": dict(head),
    }


def map_key(boxes: str, labels: str, assumption: str) -> str:
    """Where the summary has a mAP."""
    return f"{boxes}/{labels}/{assumption}/mAP"


def class_key(boxes: str, labels: str, assumption: str, label: str) -> str:
    """Where the summary has the AP of a class."""
    return f"{boxes}/{labels}/{assumption}/AP/{label}"


def split_key(assumption: str, split: str) -> str:
    """Where the summary has a split's cell of the main table: groups of runs make its rows."""
    return f"{assumption}/split {split}"


def split_columns(head: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, float]:
    """Unseen mAP on the first box source, where the method has that row of the main table."""
    from stclip.evaluate.rules import shown_boxes

    cells: Mapping[str, Any] = metrics[shown_boxes(metrics)].get("unseen", {})
    return {
        split_key(assumption, head["split"]): cells[assumption]["mAP"]
        for assumption in head["assumptions"]
        if assumption in cells
    }


def numbers_of(values: Mapping[str, Any], above: str = "") -> dict[str, float]:
    """The numbers of nested mappings under their paths; an interval as its low and high end.

    >>> numbers_of({"gt": {"mAP": 0.5, "interval": [0.4, 0.6], "AP": {"run": None}}})
    {'gt/mAP': 0.5, 'gt/interval/low': 0.4, 'gt/interval/high': 0.6}
    """
    found: dict[str, float] = {}
    for key, value in values.items():
        if key == "interval" and value is not None:  # of a mean over no class
            value = dict(zip(("low", "high"), value, strict=True))
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{above}{key}/")
        elif isinstance(value, int | float):
            found[above + key] = value
    return found


def close_wandb() -> None:
    """End wandb's own process, which a command that is a fork (`stclip preloaded`) would leave."""
    if "wandb" not in sys.modules:
        return
    try:
        sys.modules["wandb"].teardown()
    except (Exception, SystemExit) as error:  # it was killed, or has failed before
        logger.debug("W&B: %r", error)


def why_not_online() -> str | None:
    """What stands in the way of a server, if anything does; wandb itself would ask or retry.

    To be followed by `close_wandb` in the end.
    """
    import requests
    import wandb
    from wandb.sdk.lib import wbauth

    server = wandb.setup(wandb.Settings(silent=True)).settings.base_url
    try:
        if not wbauth.authenticate_session(host=server, source="stclip", prompt=False):
            return "there is no API key (set WANDB_API_KEY, or run `wandb login`)"
        requests.head(server, timeout=REACH_S)
    except (wandb.Error, OSError) as error:  # those of requests are OSErrors
        return f"{server}: {error}"
    return None


def _begin(about: Mapping[str, Any], *, online: bool, resume: bool) -> "wandb.Run":
    """Start a run on the server, or offline where that cannot be."""
    import wandb

    logging.getLogger("wandb").disabled = True  # its log repeats the config; full disks break it
    gpu = "torch" in sys.modules and sys.modules["torch"].cuda.is_available()
    settings = wandb.Settings(
        **QUIET, x_disable_stats=not gpu, init_timeout=INIT_S, finish_timeout=FINISH_S,
        finish_timeout_raises=True,
    )  # fmt: skip
    wandb.setup(settings)
    if online:
        reason = why_not_online()
        if reason is None:
            try:
                return wandb.init(mode="online", resume="allow" if resume else None, **about)
            except Exception as error:
                reason = f"{wandb.setup().settings.base_url} refused ({error!r})"
            close_wandb()  # its process would not let go of the run's id
            wandb.setup(settings)
        logger.warning("W&B: %s; offline for now, `stclip sync` uploads it later", reason)
    return wandb.init(mode="offline", **about)


def _media(folder: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """AP by class as a table that tells its run, so that tables of runs can be joined; pictures."""
    import pandas as pd
    import wandb

    from stclip.evaluate.breakdown import CLASSES as FILE

    table = pd.read_csv(folder / FILE)
    cells = table.pop("cell").str.split("/", expand=True)
    cells.columns = ["boxes", "labels", "assumption"]
    run = pd.DataFrame({k: str(head[k]) for k in ("method", "split", "seed")}, index=table.index)
    media: dict[str, Any] = {CLASSES: wandb.Table(dataframe=pd.concat([run, cells, table], axis=1))}
    return media | _pictures(folder, ["errors"])


def _pictures(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    import wandb

    return {name: wandb.Image(str(folder / f"{name}.png")) for name in names}
