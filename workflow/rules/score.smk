# Weights and boxes -> class probabilities of every box, per box source and label group.
@for_all_seeds
def settings_to_score(wildcards):
    return settings_of(
        "score", run_settings(wildcards).score, scoring_settings(wildcards)
    )


rule score:
    input:
        **PREPARED,
        weights=f"{RUN}/weights.safetensors",
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
        detections=scored_detections,
        backbone=run_backbone,
        features=lambda w: list(stored_features(w).values()),
        objects=objects_of_run,
    output:
        expand(
            f"{RUN}/scores_{{boxes}}_{{labels}}.parquet",
            boxes=config["boxes"],
            labels=LABEL_GROUPS,
            allow_missing=True,
        ),
    log:
        "logs/score/{scale}/{dataset}/{family}/{split}/{method}/{seed}.log",
    threads: need("score", "threads", 1)
    resources:
        gpu=need("score", "gpu", 0),
        mem_mb=need("score", "mem_mb", 2000),
        runtime=need("score", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=settings_to_score,
        brought=run_brought,
        sources=options("--source", config["boxes"]),
        detections=lambda w: options("--detections", scored_detections(w)),
        out=RUN,
        features=lambda w: feature_options(stored_features(w), objects_of_run(w)),
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} score"
        " --method {wildcards.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --weights {input.weights:q}"
        " --split {input.split:q} --clips {input.clips:q} --boxes {input.boxes:q}"
        " --key-frames {input.key_frames:q} {params.detections:q}"
        " --frames {input.frames:q} {params.sources:q}"
        " {params.features:q} --seed {wildcards.seed:q} --workers {params.workers} --out {params.out:q}"
