# Persons on the key frames of the test clips; unfiltered.
rule detect:
    input:
        weights=SCALE_SETTINGS.detector.weights,
        clips="data/{scale}/{dataset}/clips.parquet",
        frames="data/{scale}/{dataset}/frames",
    output:
        "data/{scale}/{dataset}/detections/all.parquet",
    log:
        "logs/detect/{scale}/{dataset}/all.log",
    threads: need("detect", "threads", 1)
    resources:
        gpu=need("detect", "gpu", 0),
        mem_mb=need("detect", "mem_mb", 2000),
        runtime=need("detect", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "detect",
            SCALE_SETTINGS.detector,
            str(DATASETS[w.dataset].key_frame_stride),
        ),
    shell:
        "stclip --log {log} --threads {threads} detect --dataset {wildcards.dataset}"
        " --scale {wildcards.scale} --weights {input.weights} --clips {input.clips}"
        " --frames {input.frames} --out {output}"
