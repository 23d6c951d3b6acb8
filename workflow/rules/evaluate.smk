# Scores and ground truth -> metrics.json with intervals, curves, errors. No pixel is looked at.
@for_all_seeds
def settings_to_evaluate(wildcards):
    return settings_of(
        "evaluate",
        run_settings(wildcards),
        scoring_settings(wildcards),
        evaluation_settings(wildcards),
    )


rule evaluate:
    input:
        scores=rules.score.output,
        weights=f"{RUN}/weights.safetensors",
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
        boxes=PREPARED["boxes"],
        key_frames=PREPARED["key_frames"],
    output:
        metrics=f"{RUN}/metrics.json",
        replicates=f"{RUN}/replicates.parquet",
        report=expand(
            f"{RUN}/{{file}}",
            file=["classes.csv", "curves.csv", "errors.csv", "errors.png"],
            allow_missing=True,
        ),
    log:
        "logs/evaluate/{scale}/{dataset}/{family}/{split}/{method}/{seed}.log",
    resources:
        mem_mb=need("evaluate", "mem_mb", 2000),
        runtime=need("evaluate", "runtime", 30),
    params:
        settings=settings_to_evaluate,
        sources=options("--source", config["boxes"]),
        out=RUN,
    shell:
        "stclip --log {log:q} --threads 1 evaluate --method {wildcards.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --run {params.out:q}"
        " --split {input.split:q} --boxes {input.boxes:q} --key-frames {input.key_frames:q} {params.sources:q}"
        " --seed {wildcards.seed:q}"
