# What all rules share: wildcard constraints, settings and resources of a job, where things lie.
import functools
import re
import shlex
import sys
from pathlib import Path

from stclip.config import hashes, package_files
from stclip.download.first_download import is_as_published
from stclip.storage.archives import file_with
from stclip.storage.digests import content_of

# The stclip beside this snakemake, also where the environment is not activated. The process that
# `stclip preloaded` keeps ready is of this machine: a job on another one starts its own.
shell.prefix(
    f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; '
    + "unset STCLIP_PRELOADED; " * workflow.remote_exec
)

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


NEEDS = {}  # rule -> the resources that it reads; `check.smk` compares


def need(rule, resource, default):
    NEEDS.setdefault(rule, set()).add(resource)
    own = getattr(SCALE_SETTINGS.resources.get(rule), resource, None)
    return default if own is None else own


def on_gpus(wildcards, resources):
    """Launcher of a job that wants GPUs: on a machine of several they take free ones."""
    return f"stclip gpus {resources.gpu} " if resources.gpu else ""


def options(name, values):
    """NAME VALUE NAME VALUE ..., of which `:q` quotes each."""
    return [text for value in values for text in (name, value)]


def run_settings(wildcards):
    return METHOD_SETTINGS[wildcards.dataset, wildcards.method]


def for_all_seeds(function):
    """Of a job's wildcards, computed once for all seeds and splits of a method."""
    kept = {}

    @functools.wraps(function)
    def found(wildcards):
        key = wildcards.dataset, wildcards.family, wildcards.method
        if key not in kept:
            kept[key] = function(wildcards)
        return kept[key]

    return found
