# Runs' folders and tables -> pictures of predictions, and one page to read.
MAIN_TABLES = [name for name, table in TABLES.items() if isinstance(table, MainTable)]
REPORTED = MAIN_TABLES if config["report"] == "main" else config["report"]
for name in REPORTED:
    checked(settings.pick, TABLES, name, what="table of the report")


def shown_methods(wildcards):
    """The methods that are run to draw a figure; none where it reads scores alone."""
    if not FIGURES[wildcards.figure].of_weights:
        return []
    return [run_settings(run) for run in FIGURE_RUNS[wildcards.figure]]


@for_all_seeds
def settings_of_pictures(wildcards):
    return settings_of(
        "report", run_settings(wildcards).title, evaluation_settings(wildcards)
    )


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
        settings=settings_of_pictures,
        sources=options("--source", config["boxes"]),
        run=RUN,
    shell:
        "stclip --log {log:q} --threads 1 predictions --method {wildcards.method:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --run {params.run:q}"
        " --split {input.split:q} --clips {input.clips:q} --boxes {input.boxes:q}"
        " --key-frames {input.key_frames:q} --frames {input.frames:q} {params.sources:q}"
        " --seed {wildcards.seed:q}"


SCORING_GPU = need("score", "gpu", 0)
SCORING_MEMORY = need("score", "mem_mb", 2000)


# A figure of config/figures: what runs say, or what their methods make of frames.
rule figure:
    input:
        lambda w: [
            path.format(scale=SCALE, dataset=FIGURES[w.figure].dataset)
            for path in PREPARED.values()
        ],
        runs=lambda w: [
            path
            for name in FIGURES[w.figure].files
            for path in files_of(FIGURE_RUNS[w.figure], name)
        ],
        splits=lambda w: sorted({split_file(*run[:3]) for run in FIGURE_RUNS[w.figure]}),
        backbone=lambda w: sorted(
            {path for method in shown_methods(w) for path in backbone_files(method)}
        ),
    output:
        "results/{scale}/{figure}.png",
    log:
        "logs/figure/{scale}/{figure}.log",
    wildcard_constraints:
        figure=one_of(name for name, its in FIGURES.items() if its.suffix == "png"),
    threads: lambda w: need("score", "threads", 1) if shown_methods(w) else 1
    resources:
        gpu=lambda w: SCORING_GPU if shown_methods(w) else 0,
        mem_mb=SCORING_MEMORY,
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of("report", FIGURES[w.figure], *shown_methods(w)),
        brought=lambda w: brought(
            *(path for method in shown_methods(w) for path in method.backbone.files)
        ),
        prepared=lambda w: [
            text
            for name, path in PREPARED.items()
            for text in (
                f"--{name.replace('_', '-')}",
                path.format(scale=SCALE, dataset=FIGURES[w.figure].dataset),
            )
        ],
        runs=lambda w: [
            text
            for run, folder in zip(
                FIGURE_RUNS[w.figure], files_of(FIGURE_RUNS[w.figure], "")
            )
            for text in ("--run", folder, "--split", split_file(*run[:3]))
        ],
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} figure {wildcards.figure:q}"
        " --scale {wildcards.scale:q} {params.runs:q} {params.prepared:q} --out {output:q}"


# One in motion.
use rule figure as video with:
    output:
        "results/{scale}/{figure}.gif",
    wildcard_constraints:
        figure=one_of(name for name, its in FIGURES.items() if its.suffix == "gif"),


# A page to sort and filter the predictions of a run; made when it is asked for.
rule browse:
    input:
        **PREPARED,
        scores=rules.score.output,
        metrics=f"{RUN}/metrics.json",
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
    output:
        "results/{scale}/browse/{dataset}/{family}/{split}/{method}/{seed}.html",
    log:
        "logs/browse/{scale}/{dataset}/{family}/{split}/{method}/{seed}.log",
    params:
        settings=settings_of_pictures,
        run=RUN,
    shell:
        "stclip --log {log:q} --threads 1 browse {params.run:q} --out {output:q}"


# Its many files are listed when it is asked for, not in every job that parses this.
rule report:
    input:
        metrics=lambda w: reported_files("metrics.json"),
        files=lambda w: [
            path
            for name in ("log.jsonl", "config.yaml", "classes.csv", "errors.csv")
            for path in reported_files(name)
        ],
        pictures=lambda w: reported_files("predictions.png"),
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
