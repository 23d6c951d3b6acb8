# Runs' folders and tables -> pictures of predictions, and one page to read.
MAIN_TABLES = [name for name, table in TABLES.items() if isinstance(table, MainTable)]
REPORTED = MAIN_TABLES if config["report"] == "main" else config["report"]
for name in REPORTED:
    checked(settings.pick, TABLES, name, what="table of the report")


def figure_file(wildcards, name):
    """A file of the run that a figure shows."""
    return files_of([FIGURES[wildcards.figure].run], name)[0]


# Apart from the metrics: these depend on no pixel.
rule predictions:
    input:
        **PREPARED,
        scores=f"{RUN}/scores_{config['boxes'][0]}_unseen.parquet",
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
    output:
        f"{RUN}/predictions.png",
    log:
        "logs/predictions/{scale}/{dataset}/{family}/{split}/{method}/{seed}.log",
    params:
        settings=lambda w: settings_of(
            "report", run_settings(w).title, evaluation_settings(w)
        ),
        sources=options("--source", config["boxes"]),
        run=RUN,
    shell:
        "stclip --log {log:q} --threads 1 predictions --method {wildcards.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --run {params.run:q}"
        " --split {input.split:q} --clips {input.clips:q} --boxes {input.boxes:q}"
        " --key-frames {input.key_frames:q} --frames {input.frames:q} {params.sources:q}"
        " --seed {wildcards.seed:q}"


# A figure of config/figures: what a run says on one frame.
rule figure:
    input:
        lambda w: [
            path.format(scale=SCALE, dataset=FIGURES[w.figure].dataset)
            for path in PREPARED.values()
        ],
        scores=lambda w: figure_file(
            w, f"scores_{FIGURES[w.figure].boxes}_unseen.parquet"
        ),
        split=lambda w: split_file(*FIGURES[w.figure].run[:3]),
    output:
        "results/{scale}/{figure}.png",
    log:
        "logs/figure/{scale}/{figure}.log",
    wildcard_constraints:
        figure=one_of(FIGURES),
    params:
        settings=lambda w: settings_of("report", FIGURES[w.figure]),
        prepared=lambda w: [
            text
            for name, path in PREPARED.items()
            for text in (
                f"--{name.replace('_', '-')}",
                path.format(scale=SCALE, dataset=FIGURES[w.figure].dataset),
            )
        ],
        run=lambda w: figure_file(w, ""),
    shell:
        "stclip --log {log:q} --threads 1 figure {wildcards.figure:q} --scale {wildcards.scale:q}"
        " --run {params.run:q} --split {input.split:q} {params.prepared:q} --out {output:q}"


rule report:
    input:
        metrics=reported_files("metrics.json"),
        files=[
            path
            for name in ("log.jsonl", "config.yaml", "classes.csv", "errors.csv")
            for path in reported_files(name)
        ],
        pictures=reported_files("predictions.png"),
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
        tables=lambda w, input: options("--table", input.tables),
    shell:
        "stclip --log {log:q} --threads 1 report {input.metrics:q} {params.tables:q}"
        " --scale {wildcards.scale:q} --out {output:q}"
