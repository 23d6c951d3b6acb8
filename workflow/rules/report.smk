# Runs' folders and tables -> one page to read, results/{scale}/report.html.
MADE_TABLES = {name: name for name in ["table2", "table10", "detectors", *TABLES]}
REPORTED = [
    checked(settings.pick, MADE_TABLES, name, what="table of the report")
    for name in config["report"]
]


def reported_runs(name):
    return [path for dataset in DATASETS for path in runs_of(dataset, name)]


rule report:
    input:
        metrics=reported_runs("metrics.json"),
        files=[
            path
            for name in ("log.jsonl", "config.yaml", "classes.csv", "errors.csv")
            for path in reported_runs(name)
        ],
        pictures=reported_runs("predictions.png"),
        tables=expand("results/{{scale}}/{table}.csv", table=REPORTED),
        captions=expand("results/{{scale}}/{table}.md", table=REPORTED),
    output:
        "results/{scale}/report.html",
    log:
        "logs/report/{scale}.log",
    params:
        settings=settings_of(
            "report",
            SCALE_SETTINGS.title,
            str(SCALE_SETTINGS.published),
            *(dataset.title for dataset in DATASETS.values()),
        ),
        tables=lambda w, input: [f"--table {path}" for path in input.tables],
    shell:
        "stclip --log {log} --threads 1 report {input.metrics} {params.tables}"
        " --scale {wildcards.scale} --out {output}"
