# The checked configuration: data sets, methods, tables and the runs that they need, detectors.
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from stclip import config as settings
from stclip.config import hashes, resolved
from stclip.config.figure import load_figure
from stclip.config.file_lists import listed_names
from stclip.config.one_state import one_state
from stclip.config.text_tower import most_tokens
from stclip.config.table import (
    AblationTable,
    MainTable,
    RunName,
    load_table,
    of_splits,
)
from stclip.config.target import check_arguments
from stclip.errors import StclipError
from stclip.runtime.environment import check_environment
from stclip.runtime.folder_lock import note_run
from stclip.splits.committed import read_committed
from stclip.splits.label_splits import check_learnable
from stclip.splits.label_texts import check_labels, check_lengths
from stclip.tracking.wandb_runs import tracking_mode

if workflow.is_main_process:  # the one that locks the folder
    note_run()

# What the workflow that submitted this job resolved; its jobs compare with it, parsing does not.
announced = os.environ.pop(resolved.RESOLVED, None)


def checked(load, *arguments, **keywords):
    """Configuration mistakes end the run with one message instead of a traceback."""
    try:
        return load(*arguments, **keywords)
    except StclipError as error:
        raise WorkflowError(f"Configuration: {error}")


for path in workflow.configfiles:  # Snakemake takes the last of a key given twice
    checked(settings.read_yaml, Path(path))
SCHEMA = Path(workflow.basedir, "workflow", "schemas", "config.schema.yaml")
KNOWN = settings.read_yaml(SCHEMA)["properties"]
config.update(checked(settings.check_chosen, config, KNOWN))
validate(config, str(SCHEMA))
checked(check_environment)
checked(tracking_mode)

CONFIG = Path("config")
SCALE = config["scale"]
VERSION = config["stage_version"]
SEEDS = config["seeds"]
ONLY_SPLITS = [] if config.get("splits", "all") == "all" else config["splits"]
SCALE_SETTINGS = checked(settings.load_scale, CONFIG, SCALE)
with one_state():
    WHOLE_DATASETS = {
        d: checked(settings.load_dataset, CONFIG, d, scale=SCALE)
        for d in config["datasets"]
    }
for name, dataset in WHOLE_DATASETS.items():
    where = f"params of data set {name}"
    given = {"where": where, "given": 2, "also": ["frame_store"]}
    checked(check_arguments, dataset.target, dataset.params, **given)
for name, recipe in SCALE_SETTINGS.miniature.render.items():
    where = f"scale {SCALE}: miniature.render.{name}.params"
    given = {"where": where, "given": 1, "also": ["workers"]}
    checked(check_arguments, recipe.target, recipe.params, **given)
ALL_METHODS = sorted(path.stem for path in (CONFIG / "methods").glob("*.yaml"))
METHODS = ALL_METHODS if config["methods"] == "all" else config["methods"]
with one_state():
    ALL_TABLES = {
        path.stem: checked(load_table, CONFIG, path.stem, scale=SCALE)
        for path in sorted((CONFIG / "tables").glob("*.yaml"))
    }
for split in ONLY_SPLITS:
    of_tables = [getattr(table, "splits", []) for table in ALL_TABLES.values()]
    known = {s for own in of_tables for s in own}
    known |= {s for dataset in WHOLE_DATASETS.values() for s in dataset.splits}
    checked(settings.check_name, split, known, what="split of splits:")
DATASETS = {
    name: dataset.model_copy(
        update={
            "splits": checked(
                settings.only_splits,
                dataset.splits,
                ONLY_SPLITS,
                where=f"data set {name}",
            )
        }
    )
    for name, dataset in WHOLE_DATASETS.items()
}
# Tables of other data sets or label splits than those chosen are not built; one of detectors is of
# all data sets.
TABLES = {
    name: checked(of_splits, table, ONLY_SPLITS, where=f"table {name}")
    for name, table in ALL_TABLES.items()
    if getattr(table, "dataset", None) in {None, *DATASETS}
    and (not ONLY_SPLITS or {*ONLY_SPLITS} & {*getattr(table, "splits", ONLY_SPLITS)})
}
# Those of the chosen data sets, with runs of the chosen splits.
with one_state():
    ALL_FIGURES = {
        path.stem: checked(load_figure, CONFIG, path.stem, scale=SCALE)
        for path in sorted((CONFIG / "figures").glob("*.yaml"))
    }
FIGURE_RUNS = {
    name: runs
    for name, figure in ALL_FIGURES.items()
    if figure.dataset in DATASETS
    and (
        runs := [
            run for run in figure.runs if run.split in (ONLY_SPLITS or [run.split])
        ]
    )
}
FIGURES = {name: ALL_FIGURES[name] for name in FIGURE_RUNS}
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
} | {run for runs in FIGURE_RUNS.values() for run in runs}
RUN_METHODS = {(run.dataset, run.method) for run in ALL_RUNS}
with one_state():
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
COMMITTED = {}
for name, family, split in sorted(RUN_SPLITS):
    families = {folder.name: folder for folder in Path("splits", name).glob("*/")}
    folder = checked(
        settings.pick, families, family, what=f"family of label splits of {name}"
    )
    committed = {path.stem: path for path in folder.glob("*.json")}
    path = checked(settings.pick, committed, split, what=f"split in {folder}")
    checked(settings.check_form, split, what=f"split of {name}")
    made = checked(read_committed, path)
    labels = [*made.base, *made.unseen]
    form = DATASETS[name].label_text
    checked(check_labels, labels, form=form, where=str(path))
    COMMITTED[name, family, split] = made
# Not of every run: what methods and seeds share is checked once.
READ_LABELS = {
    (run[:3], METHOD_SETTINGS[run.dataset, run.method].backbone.model)
    for run in ALL_RUNS
}
for (name, family, split), clip in sorted(READ_LABELS):
    if (most := most_tokens(clip)) is not None:
        path = f"splits/{name}/{family}/{split}.json, backbone {clip}"
        made = COMMITTED[name, family, split]
        labels = [*made.base, *made.unseen]
        form = DATASETS[name].label_text
        checked(check_lengths, labels, form=form, most=most, where=path)
LEARNT = {
    run[:3]
    for run in ALL_RUNS
    if METHOD_SETTINGS[run.dataset, run.method].train.iterations
}
for name, family, split in sorted(LEARNT):
    made = COMMITTED[name, family, split]
    checked(check_learnable, made, DATASETS[name].exclusive_labels)
for name, dataset in DATASETS.items():
    for boxes in config["boxes"]:
        checked(settings.pick, dataset.boxes, boxes, what=f"box source of {name}")

DETECTORS = SCALE_SETTINGS.detectors
OF_OBJECTS = {name: d for name, d in DETECTORS.items() if d.finds_objects}
OF_PERSONS = {name: d for name, d in DETECTORS.items() if not d.finds_objects}
if config["detectors"] == "all":
    COMPARED = [name for name, detector in OF_PERSONS.items() if not detector.by_hand]
else:
    COMPARED = config["detectors"]
USED_DETECTORS = {
    name: checked(settings.pick, OF_PERSONS, name, what="detector")
    for name in [
        *COMPARED,
        *(dataset.detector for dataset in DATASETS.values()),
        *(name for dataset in DATASETS.values() for name in dataset.compared),
    ]
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
    absent = [path for path in detector.paths if not Path(path).exists()]
    if detector.by_hand and absent:
        raise WorkflowError(
            f"Configuration: detector {name} needs {absent}. By hand: {detector.by_hand}"
        )
