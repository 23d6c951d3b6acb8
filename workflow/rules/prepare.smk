# Archives, or an unpacked copy -> clips.parquet, boxes.parquet, frames.
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
        raw=lambda w: DATASETS[w.dataset].extracted or f"data/{w.scale}/{w.dataset}/raw",
    shell:
        "stclip --log {log} prepare --dataset {wildcards.dataset} --scale {wildcards.scale}"
        " --raw {params.raw:q}"
        " --out data/{wildcards.scale}/{wildcards.dataset}"
