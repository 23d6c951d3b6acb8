# Table of contents. The road: download -> prepare -> splits -> detect -> train -> score -> evaluate -> tables;
# features beside it: what a frozen CLIP makes of frames and boxes.
# A table:        snakemake --cores 8 results/TABLE.csv, of a file of config/tables
# A figure:       snakemake --cores 8 results/mini/FIGURE.png (a video: .gif), of a file of config/figures
# The ablations:  snakemake --cores 8 ablations
# At paper scale: snakemake --cores 8 results/TABLE.csv --config scale=paper


configfile: "config/config.yaml"


include: "workflow/rules/config.smk"
include: "workflow/rules/announce.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/paths.smk"
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
include: "workflow/rules/check.smk"


# On a cluster these stay where Snakemake runs: downloads, as nodes may have no network, and what
# takes seconds.
localrules:
    all,
    download_archive,
    download_model,
    key_frames,
    splits,
    quality,
    table,
    errors,
    ablations,
    active_scale,


# Every main table of the chosen data sets, and what there is to look at.
rule all:
    default_target: True
    input:
        expand("results/{table}.csv", table=MAIN_TABLES),
        expand("results/{scale}/errors/{table}.csv", scale=SCALE, table=MAIN_TABLES),
        expand("results/{scale}/samples/{dataset}.png", scale=SCALE, dataset=DATASETS),
        [f"results/{SCALE}/{name}.{its.suffix}" for name, its in FIGURES.items()],
        f"results/{SCALE}/report.html",
