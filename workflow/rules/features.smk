# Frames, and boxes cut out of them, through a frozen backbone: once for all methods that read it.
rule frame_features:
    input:
        clips=PREPARED["clips"],
        frames=PREPARED["frames"],
        backbone=lambda w: backbone_files(FRAME_FEATURES[w.dataset, w.features]),
    output:
        f"{DATA}/features/{{features}}.safetensors",
    log:
        "logs/features/{scale}/{dataset}/{features}.log",
    wildcard_constraints:
        features=one_of({key for _, key in FRAME_FEATURES}),
    threads: need("features", "threads", 1)
    resources:
        gpu=need("features", "gpu", 0),
        mem_mb=need("features", "mem_mb", 2000),
        runtime=need("features", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of("features", w.features),
        brought=lambda w: brought(*FRAME_FEATURES[w.dataset, w.features].backbone.files),
        method=lambda w: FRAME_FEATURES[w.dataset, w.features].name,
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} features"
        " --method {params.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --clips {input.clips:q}"
        " --frames {input.frames:q} --workers {params.workers} --out {output:q}"


rule box_features:
    input:
        clips=PREPARED["clips"],
        key_frames=PREPARED["key_frames"],
        frames=PREPARED["frames"],
        table=f"{DATA}/{{table}}.parquet",
        backbone=lambda w: backbone_files(BOX_FEATURES[w.dataset, w.features]),
    output:
        f"{DATA}/features/{{features}}/{{table}}.safetensors",
    log:
        "logs/features/{scale}/{dataset}/{features}/{table}.log",
    wildcard_constraints:
        features=one_of({key for _, key in BOX_FEATURES}),
        table=r"boxes|detections/.+|objects/[^/]+",
    threads: need("features", "threads", 1)
    resources:
        gpu=need("features", "gpu", 0),
        mem_mb=need("features", "mem_mb", 2000),
        runtime=need("features", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of("features", w.features),
        brought=lambda w: brought(*BOX_FEATURES[w.dataset, w.features].backbone.files),
        method=lambda w: BOX_FEATURES[w.dataset, w.features].name,
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} features"
        " --method {params.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --clips {input.clips:q}"
        " --key-frames {input.key_frames:q} --frames {input.frames:q}"
        " --table {input.table:q} --workers {params.workers} --out {output:q}"
