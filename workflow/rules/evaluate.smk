# Scores and ground truth -> metrics.json with intervals, curves, errors, a picture of predictions.
rule evaluate:
    input:
        scores=rules.score.output,
        weights=f"{RUN}/weights.safetensors",
        split="data/{scale}/{dataset}/splits/{split}.json",
        boxes="data/{scale}/{dataset}/boxes.parquet",
        frames="data/{scale}/{dataset}/frames",
    output:
        metrics=f"{RUN}/metrics.json",
        replicates=f"{RUN}/replicates.parquet",
        report=expand(
            f"{RUN}/{{file}}",
            file=[
                "classes.csv",
                "curves.csv",
                "errors.csv",
                "errors.png",
                "predictions.png",
            ],
            allow_missing=True,
        ),
    log:
        "logs/evaluate/{scale}/{dataset}/{split}/{method}/{seed}.log",
    resources:
        mem_mb=need("evaluate", "mem_mb", 2000),
        runtime=need("evaluate", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "evaluate", run_settings(w), scoring_settings(w), evaluation_settings(w)
        ),
        sources=" ".join(f"--source {name}" for name in config["boxes"]),
        out=RUN,
    shell:
        "stclip --log {log} --threads 1 evaluate --method {wildcards.method}"
        " --dataset {wildcards.dataset} --scale {wildcards.scale} --run {params.out}"
        " --split {input.split} --boxes {input.boxes} --frames {input.frames} {params.sources}"
        " --seed {wildcards.seed}"
