# What the stages wrote -> tables, one for each file of config/tables; results/{table}.csv is a copy
# of the active scale's.
def table_inputs(wildcards):
    """metrics.json files of its runs, and what its kind needs beside them."""
    if wildcards.table not in TABLES:
        whole = ALL_TABLES[wildcards.table]
        raise WorkflowError(
            f"Configuration: table {wildcards.table} is of data set {whole.dataset}, splits "
            f"{whole.splits}; chosen are the data sets {[*DATASETS]}, splits "
            f"{ONLY_SPLITS or 'all'}."
        )
    table = TABLES[wildcards.table]
    beside = {
        "costs": [f"results/{SCALE}/costs/{wildcards.table}.json"],
        "parts": [f"results/{SCALE}/costs/{wildcards.table}.json"],
        "latency": [f"results/{SCALE}/costs/{wildcards.table}.json"],
        "detectors": [f"data/{SCALE}/{dataset}/quality.json" for dataset in DATASETS],
    }
    return [
        *files_of(TABLE_RUNS[wildcards.table], "metrics.json"),
        *beside.get(table.kind, []),
    ]


def only_options(wildcards):
    """--only-split SPLIT ... where not all of the table's are chosen."""
    table = TABLES[wildcards.table]
    if table == ALL_TABLES[wildcards.table]:
        return []
    return options("--only-split", table.splits)


rule table:
    input:
        table_inputs,
        replicates=lambda w: files_of(TABLE_RUNS[w.table], "replicates.parquet"),
    output:
        multiext("results/{scale}/{table}", ".csv", ".md", ".tex"),
    log:
        "logs/tables/{scale}/{table}.log",
    wildcard_constraints:
        table=one_of(ALL_TABLES),
    params:
        settings=lambda w: settings_of(
            "tables",
            TABLES[w.table],
            SCALE_SETTINGS.title,
            str(SCALE_SETTINGS.published),
        ),
        files=table_inputs,
        only=only_options,
    shell:
        "stclip --log {log:q} tables {params.files:q} --table {wildcards.table:q} {params.only:q}"
        " --scale {wildcards.scale:q} --out {output[0]:q}"


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
        "stclip --log {log:q} errors {input.metrics:q} --table {wildcards.table:q}"
        " --scale {wildcards.scale:q} --out {output[0]:q}"


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
        "stclip --log {log:q} summary {input:q} --out {output[0]:q} --plots {output[1]:q} {output[2]:q}"


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
        methods=lambda w: options("--method", [r.method for r in costed_runs(w)]),
        features=lambda w: options(
            "--features",
            [
                f"{run.method}:{kind}={path}"
                for run in costed_runs(w)
                for kind, path in stored_features(run).items()
            ],
        ),
        objects=lambda w, input: options("--objects", input.objects),
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} costs {input.metrics:q}"
        " --dataset {params.dataset:q} --scale {wildcards.scale:q} {params.methods:q}"
        " --split {input.split:q} --clips {input.clips:q} --boxes {input.boxes:q}"
        " --key-frames {input.key_frames:q} --frames {input.frames:q} {params.features:q}"
        " {params.objects:q} --out {output:q}"


def drawn_settings(wildcards):
    """The settings of the methods of a table that needs no runs."""
    table = TABLES[wildcards.table]
    return [
        checked(
            settings.load_method, CONFIG, method, dataset=table.dataset, scale=SCALE
        )
        for method in table.methods([])
    ]


# What the parts of a method cost, counted on drawn pictures with random weights.
rule parts:
    output:
        "results/{scale}/costs/{table}.json",
    log:
        "logs/costs/{scale}/{table}.log",
    wildcard_constraints:
        table=one_of([n for n, t in TABLES.items() if t.kind == "parts"]),
    resources:
        mem_mb=need("parts", "mem_mb", 2000),
    params:
        settings=lambda w: settings_of("tables", TABLES[w.table], *drawn_settings(w)),
    shell:
        "stclip --log {log:q} --threads {threads} parts --table {wildcards.table:q}"
        " --scale {wildcards.scale:q} --out {output:q}"


# How long a drawn film takes on the job's devices; it takes all cores, so that nothing runs beside it.
rule latency:
    output:
        "results/{scale}/costs/{table}.json",
    log:
        "logs/costs/{scale}/{table}.log",
    wildcard_constraints:
        table=one_of([n for n, t in TABLES.items() if t.kind == "latency"]),
    threads: need("latency", "threads", 512)  # more than there are: all of them
    resources:
        gpu=need("latency", "gpu", 0),
        mem_mb=need("latency", "mem_mb", 2000),
        runtime=need("latency", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of("tables", TABLES[w.table], *drawn_settings(w)),
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} latency"
        " --table {wildcards.table:q} --scale {wildcards.scale:q} --workers {params.workers}"
        " --out {output:q}"


def ablation_tables(wildcards):
    names = [
        name
        for name, table in TABLES.items()
        if isinstance(table, AblationTable) and table.of_paper
    ]
    if not names:
        raise WorkflowError(
            f"Configuration: no ablation is of the chosen data sets {[*DATASETS]} and splits "
            f"{ONLY_SPLITS or 'all'}."
        )
    return [f"results/{name}.csv" for name in names]


# Those of the paper.
rule ablations:
    input:
        ablation_tables,


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
        "cp {input:q} {output:q} 2> {log:q}"
