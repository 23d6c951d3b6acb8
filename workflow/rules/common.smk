# What all rules share: the checked configuration, wildcard constraints, where things lie.
import functools
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import validate

from stclip import config as settings
from stclip.config import hashes, package_files, resolved
from stclip.config.table import AblationTable, MainTable, RunName, load_table
from stclip.download.first_download import is_as_published
from stclip.errors import ConfigError
from stclip.runtime.file_times import copied_without_times, file_times
from stclip.storage.digests import content_of

validate(config, "../schemas/config.schema.yaml")

# What the workflow that submitted this job resolved; its jobs compare with it, parsing does not.
announced = os.environ.pop(resolved.RESOLVED, None)

# The stclip beside this snakemake, also where the environment is not activated. The process that
# `stclip preloaded` keeps ready is of this machine: a job on another one starts its own.
shell.prefix(
    f"export PATH='{Path(sys.executable).parent}':\"$PATH\"; "
    + "unset STCLIP_PRELOADED; " * workflow.remote_exec
)

CONFIG = Path("config")
SCALE = config["scale"]
VERSION = config["stage_version"]
LABEL_GROUPS = ["unseen", "base"]
DATA = "data/{scale}/{dataset}"
RUN = "runs/{scale}/{dataset}/{family}/{split}/{method}/{seed}"
PREPARED = {  # what most stages read of a data set
    name: f"{DATA}/{file}"
    for name, file in {
        "clips": "clips.parquet",
        "boxes": "boxes.parquet",
        "key_frames": "key_frames.parquet",
        "frames": "frames",
    }.items()
}


def checked(load, *arguments, **keywords):
    """Configuration mistakes end the run with one message instead of a traceback."""
    try:
        return load(*arguments, **keywords)
    except ConfigError as error:
        raise WorkflowError(f"Configuration: {error}")


def detector_paths(detector):
    """The files that a detector reads, whoever makes them."""
    weights = [] if detector.weights is None else [detector.weights]
    return [*weights, *detector.files.values()]


SCALE_SETTINGS = checked(settings.load_scale, CONFIG, SCALE)
DATASETS = {
    d: checked(settings.load_dataset, CONFIG, d, scale=SCALE)
    for d in config["datasets"]
}
ALL_METHODS = sorted(path.stem for path in (CONFIG / "methods").glob("*.yaml"))
METHODS = ALL_METHODS if config["methods"] == "all" else config["methods"]
ALL_TABLES = {
    path.stem: checked(load_table, CONFIG, path.stem, scale=SCALE)
    for path in sorted((CONFIG / "tables").glob("*.yaml"))
}
SEEDS = [int(seed) for seed in config["seeds"]]
# Tables of other data sets than those chosen are not built; one of detectors is of all.
TABLES = {
    name: table
    for name, table in ALL_TABLES.items()
    if getattr(table, "dataset", None) in {None, *DATASETS}
}
TABLE_RUNS = {
    name: table.runs(METHODS, SEEDS) if hasattr(table, "runs") else []
    for name, table in TABLES.items()
}
# What stands in no table is run too: every chosen method on a data set's own splits.
DATASET_RUNS = {
    name: [
        RunName(name, dataset.family, split, method, seed)
        for split in dataset.splits
        for method in METHODS
        for seed in SEEDS
    ]
    for name, dataset in DATASETS.items()
}
ALL_RUNS = {
    run for runs in [*TABLE_RUNS.values(), *DATASET_RUNS.values()] for run in runs
}
RUN_METHODS = {(run.dataset, run.method) for run in ALL_RUNS}
METHOD_SETTINGS = {
    (dataset, method): checked(
        settings.load_method, CONFIG, method, dataset=dataset, scale=SCALE
    )
    for dataset, method in RUN_METHODS
}
FRAME_FEATURES = {
    (dataset, hashes.frames_key(method)): method
    for (dataset, _), method in sorted(METHOD_SETTINGS.items())
    if "frames" in method.features
}
BOX_FEATURES = {
    (dataset, hashes.crops_key(method)): method
    for (dataset, _), method in sorted(METHOD_SETTINGS.items())
    if {"boxes", "objects"} & set(method.features)
}
RUN_SPLITS = {(run.dataset, run.family, run.split) for run in ALL_RUNS}
for name, family, split in sorted(RUN_SPLITS):
    folder = Path("splits", name, family)
    committed = {path.stem: path for path in folder.glob("*.json")}
    checked(settings.pick, committed, split, what=f"split in {folder}")
for name, dataset in DATASETS.items():
    for boxes in config["boxes"]:
        checked(settings.pick, dataset.boxes, boxes, what="box source")

DETECTORS = SCALE_SETTINGS.detectors
OF_OBJECTS = {name: d for name, d in DETECTORS.items() if d.finds_objects}
OF_PERSONS = {name: d for name, d in DETECTORS.items() if not d.finds_objects}
if config["detectors"] == "all":
    COMPARED = [name for name, detector in OF_PERSONS.items() if not detector.by_hand]
else:
    COMPARED = config["detectors"]
USED_DETECTORS = {
    name: checked(settings.pick, OF_PERSONS, name, what="detector")
    for name in [*COMPARED, *(dataset.detector for dataset in DATASETS.values())]
} | {
    dataset.objects: checked(
        settings.pick,
        OF_OBJECTS,
        dataset.objects,
        what=f"detector with `params: {{objects: true}}` for the objects of {name}:",
    )
    for name, dataset in DATASETS.items()
    if dataset.objects
}
for name, detector in USED_DETECTORS.items():
    absent = [path for path in detector_paths(detector) if not Path(path).exists()]
    if detector.by_hand and absent:
        raise WorkflowError(
            f"Configuration: detector {name} needs {absent}. By hand: {detector.by_hand}"
        )

if not workflow.remote_exec and copied_without_times(file_times(at_most=50)):
    logger.warning(
        "Most files here are newer than when they were made, as after a copy without times; "
        "`stclip doctor` says what to do."
    )
if not (workflow.remote_exec and announced):
    AT = f"at scale {SCALE}"
    records = {
        f"scale {SCALE}": SCALE_SETTINGS.shown,
        f"miniature of scale {SCALE}": SCALE_SETTINGS.miniature,
        **{
            f"rendering of {name} {AT}": its
            for name, its in SCALE_SETTINGS.miniature.render.items()
        },
        **{f"table {name} {AT}": table for name, table in ALL_TABLES.items()},
        **{f"data set {name} {AT}": dataset for name, dataset in DATASETS.items()},
        **{f"detector {name} {AT}": its for name, its in USED_DETECTORS.items()},
        **{
            f"method {method} of {dataset} {AT}": its
            for (dataset, method), its in METHOD_SETTINGS.items()
        },
        **{
            f"download {name} of models {AT}": its
            for name, its in SCALE_SETTINGS.models.items()
        },
        **{
            f"download {name} of {dataset} {AT}": its
            for dataset, of_it in DATASETS.items()
            for name, its in of_it.archives.items()
        },
    }
    announced = checked(resolved.announcement, records, versions=VERSION)
os.environ[resolved.RESOLVED] = announced


envvars:
    resolved.RESOLVED,


def one_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    scale=re.escape(SCALE),
    dataset=one_of(DATASETS),
    method=one_of({method for _, method in RUN_METHODS}),
    family=one_of({family for _, family, _ in RUN_SPLITS}),
    split=one_of({split for _, _, split in RUN_SPLITS}),
    seed=r"\d+",
    boxes=one_of(config["boxes"]),
    detector=one_of(OF_PERSONS),
    objects=one_of(OF_OBJECTS),
    model=one_of(SCALE_SETTINGS.models),


def local_files(*urls):
    """The paths of file: URLs, so that the rule that makes such a source runs first."""
    return [
        url.removeprefix("file:") for url in urls if url and url.startswith("file:")
    ]


def settings_of(stage, *parts):
    """What a job's result depends on beside its inputs; a change runs it again."""
    return f"{VERSION[stage]}-{hashes.config_hash(*parts)}"


def need(rule, resource, default):
    return SCALE_SETTINGS.resources.get(rule, {}).get(resource, default)


def on_gpus(wildcards, resources):
    """Launcher of a job that wants GPUs: on a machine of several they take free ones."""
    return f"stclip gpus {resources.gpu} " if resources.gpu else ""


def run_settings(wildcards):
    return METHOD_SETTINGS[wildcards.dataset, wildcards.method]
