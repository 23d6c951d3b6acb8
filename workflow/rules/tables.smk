# What the stages wrote -> tables, one for each file of config/tables; results/{table}.csv is a copy
# of the active scale's.
def table_inputs(wildcards):
    """metrics.json files of its runs, and what its kind needs beside them."""
    table = TABLES[wildcards.table]
    beside = {
        "costs": [f"results/{SCALE}/costs/{wildcards.table}.json"],
        "detectors": [f"data/{SCALE}/{dataset}/quality.json" for dataset in DATASETS],
    }
    return [
        *files_of(TABLE_RUNS[wildcards.table], "metrics.json"),
        *beside.get(table.kind, []),
    ]


rule table:
    input:
        table_inputs,
        replicates=lambda w: files_of(TABLE_RUNS[w.table], "replicates.parquet"),
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
        files=table_inputs,
    shell:
        "stclip --log {log} tables {params.files} --table {wildcards.table}"
        " --scale {wildcards.scale} --out {output[0]}"


# What the rows of a main table get wrong, side by side.
rule errors:
    input:
        metrics=lambda w: files_of(TABLE_RUNS[w.table], "metrics.json"),
        errors=lambda w: files_of(TABLE_RUNS[w.table], "errors.csv"),
    output:
        multiext("results/{scale}/errors/{table}", ".csv", ".png"),
    log:
        "logs/tables/{scale}/errors/{table}.log",
    wildcard_constraints:
        table=one_of([n for n, t in TABLES.items() if isinstance(t, MainTable)]),
    params:
        settings=lambda w: settings_of("tables", TABLES[w.table]),
    shell:
        "stclip --log {log} errors {input.metrics} --table {wildcards.table}"
        " --scale {wildcards.scale} --out {output[0]}"


# The same runs in a few numbers, to compare over commits.
rule summary:
    input:
        lambda w: files_of(DATASET_RUNS[w.dataset], "metrics.json"),
    output:
        directory("results/summary/{scale}/{dataset}/metrics"),
        multiext("results/summary/{scale}/{dataset}/", "map.csv", "ap_by_class.csv"),
    log:
        "logs/tables/{scale}/summary/{dataset}.log",
    params:
        version=VERSION["tables"],
    shell:
        "stclip --log {log} summary {input} --out {output[0]} --plots {output[1]} {output[2]}"


def costed_runs(wildcards):
    """A run of each method of the table, for what it reads."""
    table = TABLES[wildcards.table]
    return [
        RunName(table.dataset, table.family, table.measured_split, method, SEEDS[0])
        for method in table.methods(METHODS)
    ]


# What the methods cost, by one counter and clock; it takes all cores, so that nothing runs beside it.
rule costs:
    input:
        **{
            name: lambda w, path=path: path.format(
                scale=SCALE, dataset=TABLES[w.table].dataset
            )
            for name, path in PREPARED.items()
        },
        metrics=lambda w: files_of(TABLE_RUNS[w.table], "metrics.json"),
        split=lambda w: split_file(*costed_runs(w)[0][:3]),
        features=lambda w: sorted(
            {path for run in costed_runs(w) for path in stored_features(run).values()}
        ),
        objects=lambda w: sorted(
            {path for run in costed_runs(w) for path in objects_of_run(run)}
        ),
    output:
        "results/{scale}/costs/{table}.json",
    log:
        "logs/costs/{scale}/{table}.log",
    wildcard_constraints:
        table=one_of([n for n, t in TABLES.items() if t.kind == "costs"]),
    threads: need("costs", "threads", 512)  # more than there are: all of them
    resources:
        gpu=need("score", "gpu", 0),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of("tables", *map(run_settings, costed_runs(w))),
        dataset=lambda w: TABLES[w.table].dataset,
        methods=lambda w: [f"--method {run.method}" for run in costed_runs(w)],
        features=lambda w: [
            f"--features {run.method}:{kind}={path}"
            for run in costed_runs(w)
            for kind, path in stored_features(run).items()
        ],
        objects=lambda w, input: [f"--objects {path}" for path in input.objects],
    shell:
        "{params.launcher}stclip --log {log} --threads {threads} costs {input.metrics}"
        " --dataset {params.dataset} --scale {wildcards.scale} {params.methods}"
        " --split {input.split} --clips {input.clips} --boxes {input.boxes}"
        " --key-frames {input.key_frames} --frames {input.frames} {params.features}"
        " {params.objects} --out {output}"


# Those of the paper.
rule ablations:
    input:
        [
            f"results/{name}.csv"
            for name, table in TABLES.items()
            if isinstance(table, AblationTable) and table.of_paper
        ],


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
