# Official archives -> clips.parquet, boxes.parquet, frames.
rule prepare:
    input:
        lambda w: expand(
            "data/{scale}/{dataset}/raw/{archive}",
            scale=w.scale,
            dataset=w.dataset,
            archive=DATASETS[w.dataset].archives,
        ),
    output:
        clips="data/{scale}/{dataset}/clips.parquet",
        boxes="data/{scale}/{dataset}/boxes.parquet",
        frames=directory("data/{scale}/{dataset}/frames"),
    log:
        "logs/prepare/{scale}/{dataset}.log",
    resources:
        mem_mb=need("prepare", "mem_mb", 2000),
        runtime=need("prepare", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "prepare", DATASETS[w.dataset].params, DATASETS[w.dataset].target
        ),
    shell:
        "stclip --log {log} prepare --dataset {wildcards.dataset} --scale {wildcards.scale}"
        " --raw data/{wildcards.scale}/{wildcards.dataset}/raw"
        " --out data/{wildcards.scale}/{wildcards.dataset}"
