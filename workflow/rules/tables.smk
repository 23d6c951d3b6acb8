# metrics.json files -> tables: Table 2, and one for each file of config/tables; results/table2.csv
# and the like are copies of the active scale's.
rule table2:
    input:
        metrics=runs_of("jhmdb", "metrics.json"),
        replicates=runs_of("jhmdb", "replicates.parquet"),
        errors=runs_of("jhmdb", "errors.csv"),
        published="config/published/table2.yaml",
    output:
        multiext(
            "results/{scale}/table2",
            ".csv",
            ".md",
            ".tex",
            "_errors.csv",
            "_errors.png",
        ),
    log:
        "logs/tables/{scale}/table2.log",
    params:
        settings=settings_of(
            "tables", SCALE_SETTINGS.title, str(SCALE_SETTINGS.published)
        ),
    shell:
        "stclip --log {log} tables --dataset jhmdb --scale {wildcards.scale} --published {input.published}"
        " --out {output[0]} {input.metrics}"


# The same runs in a few numbers, to compare over commits.
rule summary:
    input:
        [path for dataset in DATASETS for path in runs_of(dataset, "metrics.json")],
    output:
        expand(
            "results/{{scale}}/metrics/{dataset}/{method}.json",
            dataset=DATASETS,
            method=METHODS,
        ),
        multiext("results/{scale}/", "map.csv", "ap_by_class.csv"),
    log:
        "logs/tables/{scale}/summary.log",
    params:
        version=VERSION["tables"],
    shell:
        "stclip --log {log} summary {input} --out results/{wildcards.scale}/metrics"


COSTED = {
    name: stored_features("jhmdb", METHOD_SETTINGS["jhmdb", name], "1")
    for name in (METHODS if "jhmdb" in DATASETS else [])
}
COSTED_OBJECTS = any(METHOD_SETTINGS["jhmdb", name].objects for name in COSTED)


# What the methods cost, by one counter and clock; it takes all cores, so that nothing runs beside it.
rule table10:
    input:
        metrics=runs_of("jhmdb", "metrics.json"),
        split=f"data/{SCALE}/jhmdb/splits/1.json",
        clips=f"data/{SCALE}/jhmdb/clips.parquet",
        boxes=f"data/{SCALE}/jhmdb/boxes.parquet",
        frames=f"data/{SCALE}/jhmdb/frames",
        features=sorted({path for files in COSTED.values() for path in files.values()}),
        objects=[objects_file("jhmdb")] if COSTED_OBJECTS else [],
        published="config/published/table10.yaml",
    output:
        multiext("results/{scale}/table10", ".csv", ".md", ".tex"),
    log:
        "logs/tables/{scale}/table10.log",
    threads: need("table10", "threads", 512)  # more than there are: all of them
    resources:
        gpu=need("score", "gpu", 0),
    params:
        launcher=on_gpus,
        settings=settings_of(
            "tables", SCALE_SETTINGS.title, str(SCALE_SETTINGS.published)
        ),
        methods=" ".join(f"--method {name}" for name in METHODS),
        features=[
            f"--features {method}:{kind}={path}"
            for method, files in COSTED.items()
            for kind, path in files.items()
        ],
        objects=lambda w, input: [f"--objects {path}" for path in input.objects],
    shell:
        "{params.launcher}stclip --log {log} --threads {threads} costs"
        " {input.metrics} --dataset jhmdb"
        " --scale {wildcards.scale} {params.methods} --split {input.split} --clips {input.clips}"
        " --boxes {input.boxes} --frames {input.frames} {params.features} {params.objects}"
        " --published {input.published} --out {output[0]}"


rule ablation:
    input:
        metrics=lambda w: rows_of(TABLES[w.table], "metrics.json"),
        replicates=lambda w: rows_of(TABLES[w.table], "replicates.parquet"),
    output:
        multiext("results/{scale}/{table}", ".csv", ".md", ".tex"),
    log:
        "logs/tables/{scale}/{table}.log",
    wildcard_constraints:
        table=one_of(TABLES),
    params:
        settings=lambda w: settings_of(
            "tables",
            TABLES[w.table],
            SCALE_SETTINGS.title,
            str(SCALE_SETTINGS.published),
        ),
    shell:
        "stclip --log {log} ablation {input.metrics} --table {wildcards.table}"
        " --scale {wildcards.scale} --out {output[0]}"


# Those of the paper.
rule ablations:
    input:
        expand(
            "results/{table}.csv", table=[t for t in TABLES if t.startswith("table")]
        ),


rule active_scale:
    input:
        f"results/{SCALE}/{{table}}.csv",
    output:
        "results/{table}.csv",
    log:
        f"logs/tables/{SCALE}/{{table}}.copy.log",
    wildcard_constraints:
        table="[^/]+",
    shell:
        "cp {input} {output} 2> {log}"
