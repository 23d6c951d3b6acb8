# One method on the base classes of one split.
rule train:
    input:
        split="data/{scale}/{dataset}/splits/{split}.json",
        clips="data/{scale}/{dataset}/clips.parquet",
        boxes="data/{scale}/{dataset}/boxes.parquet",
        frames="data/{scale}/{dataset}/frames",
        backbone=backbone_files,
    output:
        weights=f"{RUN}/weights.safetensors",
        config=f"{RUN}/config.yaml",
        log=f"{RUN}/log.jsonl",
    log:
        "logs/train/{scale}/{dataset}/{split}/{method}/{seed}.log",
    threads: need("train", "threads", 1)
    resources:
        gpu=need("train", "gpu", 0),
        mem_mb=need("train", "mem_mb", 2000),
        runtime=need("train", "runtime", 30),
    params:
        settings=lambda w: settings_of("train", settings.what_trains(run_settings(w))),
        out=RUN,
        workers=lambda w, threads: threads - 1,
    shell:
        "stclip --log {log} --threads {threads} train --method {wildcards.method}"
        " --dataset {wildcards.dataset} --scale {wildcards.scale} --split {input.split}"
        " --clips {input.clips} --boxes {input.boxes} --frames {input.frames}"
        " --seed {wildcards.seed} --workers {params.workers} --out {params.out}"
