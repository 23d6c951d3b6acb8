# Every frame through a frozen backbone, once for all methods that read its features.
rule features:
    input:
        clips="data/{scale}/{dataset}/clips.parquet",
        frames="data/{scale}/{dataset}/frames",
        backbone=lambda w: backbone_files(FEATURES[w.dataset, w.features]),
    output:
        "data/{scale}/{dataset}/features/{features}.safetensors",
    log:
        "logs/features/{scale}/{dataset}/{features}.log",
    threads: need("features", "threads", 1)
    resources:
        gpu=need("features", "gpu", 0),
        mem_mb=need("features", "mem_mb", 2000),
        runtime=need("features", "runtime", 30),
    params:
        settings=lambda w: settings_of("features", w.features),
        method=lambda w: FEATURES[w.dataset, w.features].name,
    shell:
        "stclip --log {log} --threads {threads} features --method {params.method}"
        " --dataset {wildcards.dataset} --scale {wildcards.scale} --clips {input.clips}"
        " --frames {input.frames} --out {output}"
