# What all rules share: the checked configuration, wildcard constraints, where things lie.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from stclip import config as settings
from stclip.config import hashes as keys
from stclip.errors import ConfigError
from stclip.config.table import load_table

validate(config, "../schemas/config.schema.yaml")

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
RUN = "runs/{scale}/{dataset}/{split}/{method}/{seed}"


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
TABLES = {n: table for n, table in ALL_TABLES.items() if table.dataset in DATASETS}
RUN_METHODS = {(dataset, method) for dataset in DATASETS for method in METHODS}
RUN_METHODS |= {(t.dataset, row.method) for t in TABLES.values() for row in t.rows}
METHOD_SETTINGS = {
    (dataset, method): checked(
        settings.load_method, CONFIG, method, dataset=dataset, scale=SCALE
    )
    for dataset, method in RUN_METHODS
}
FRAME_FEATURES = {
    (dataset, keys.frames_key(method)): method
    for (dataset, _), method in sorted(METHOD_SETTINGS.items())
    if "frames" in method.features
}
BOX_FEATURES = {
    (dataset, keys.crops_key(method)): method
    for (dataset, _), method in sorted(METHOD_SETTINGS.items())
    if {"boxes", "objects"} & set(method.features)
}
RUN_SPLITS = {(name, split) for name, d in DATASETS.items() for split in d.splits}
RUN_SPLITS |= {(t.dataset, split) for t in TABLES.values() for split in t.splits}
for name, split in sorted(RUN_SPLITS):
    committed = {path.stem: path for path in Path("splits", name).glob("*.json")}
    checked(settings.pick, committed, split, what=f"split of {name}")
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


def one_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    scale=re.escape(SCALE),
    dataset=one_of(DATASETS),
    method=one_of({method for _, method in RUN_METHODS}),
    split=one_of({split for _, split in RUN_SPLITS}),
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
    return f"{VERSION[stage]}-{keys.config_hash(*parts)}"


def need(rule, resource, default):
    return SCALE_SETTINGS.resources.get(rule, {}).get(resource, default)


def on_gpus(wildcards, resources):
    """Launcher of a job that wants GPUs: on a machine of several they take free ones."""
    return f"stclip gpus {resources.gpu} " if resources.gpu else ""


def run_settings(wildcards):
    return METHOD_SETTINGS[wildcards.dataset, wildcards.method]


def backbone_files(method):
    """Weights to download first; those inside the package are always there."""
    weights = method.backbone.weights
    return [] if weights is None or weights.startswith("package:") else [weights]


def detections_file(dataset, detector, split):
    """The boxes that a detector finds; a fine-tuned one has boxes of its own for every split."""
    part = split if DETECTORS[detector].finetune else "all"
    return f"data/{SCALE}/{dataset}/detections/{detector}/{part}.parquet"


def objects_file(dataset):
    """The boxes of objects that the data set's detector of objects finds."""
    return f"data/{SCALE}/{dataset}/objects/{DATASETS[dataset].objects}.parquet"


def stored_features(dataset, method, split):
    """What a method reads in place of pictures: kind -> file."""
    folder = f"data/{SCALE}/{dataset}/features"
    crops = f"{folder}/{keys.crops_key(method)}"

    def of_boxes(path):
        table = path.removeprefix(f"data/{SCALE}/{dataset}/").removesuffix(".parquet")
        return f"{crops}/{table}.safetensors"

    files = {
        "frames": {"frames": f"{folder}/{keys.frames_key(method)}.safetensors"},
        "boxes": {
            "ground_truth": f"{crops}/boxes.safetensors",
            "detections": of_boxes(
                detections_file(dataset, DATASETS[dataset].detector, split)
            ),
        },
        "objects": {"objects": of_boxes(objects_file(dataset))},
    }
    return {k: path for kind in method.features for k, path in files[kind].items()}


def features_of_run(wildcards):
    return stored_features(wildcards.dataset, run_settings(wildcards), wildcards.split)


def features_to_train(wildcards):
    """A method that trains nothing reads nothing, and no training looks at detections."""
    if not run_settings(wildcards).train.iterations:
        return {}
    found = features_of_run(wildcards)
    return {kind: path for kind, path in found.items() if kind != "detections"}


def objects_of_run(wildcards):
    return [objects_file(wildcards.dataset)] if run_settings(wildcards).objects else []


def feature_options(features, objects):
    """--features KIND=FILE ... --objects FILE"""
    options = [f"--features {kind}={path}" for kind, path in features.items()]
    return " ".join([*options, *(f"--objects {path}" for path in objects)])


def compared_detectors(dataset):
    """The detectors of the table that have boxes for a data set; its own among them."""
    own = DATASETS[dataset].detector
    fit = [n for n in COMPARED if dataset in (DETECTORS[n].datasets or [dataset])]
    return fit if own in fit else [own, *fit]


def scoring_settings(wildcards):
    """Settings of the data set that choose boxes and frames."""
    dataset = DATASETS[wildcards.dataset]
    return {
        "boxes": {name: dataset.boxes[name].model_dump() for name in config["boxes"]},
        "key_frame_stride": dataset.key_frame_stride,
    }


def evaluation_settings(wildcards):
    dataset = DATASETS[wildcards.dataset]
    return {"protocol": dataset.protocol, "video_map": dataset.video_map}


def runs_of(dataset, name):
    return expand(
        f"{RUN}/{name}",
        scale=SCALE,
        dataset=dataset,
        split=DATASETS[dataset].splits,
        method=METHODS,
        seed=config["seeds"],
    )


def rows_of(table, name):
    return expand(
        f"{RUN}/{name}",
        scale=SCALE,
        dataset=table.dataset,
        split=table.splits,
        method=[row.method for row in table.rows],
        seed=table.seeds or config["seeds"],
    )
