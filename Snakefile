# Table of contents. The road: download -> prepare -> splits -> detect -> train -> score -> evaluate -> tables;
# features beside it: what a frozen CLIP makes of frames and boxes.
# The main job:  snakemake --cores 8 results/table2.csv
# The ablations:  snakemake --cores 8 ablations
# At paper scale: snakemake --cores 8 results/table2.csv --config scale=paper


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/mini.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/versions.smk"


# On a cluster these stay where Snakemake runs: downloads, as nodes may have no network, and what
# takes seconds.
localrules:
    all,
    download_archive,
    download_model,
    splits,
    quality,
    detectors,
    table2,
    ablation,
    ablations,
    active_scale,


rule all:
    default_target: True
    input:
        "results/table2.csv",
        f"results/{SCALE}/samples.png",
        f"results/{SCALE}/report.html",
