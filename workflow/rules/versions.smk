# What the stages of dvc.yaml build: targets only.
rule data:
    input:
        expand(
            "data/{scale}/{dataset}/{file}",
            scale=SCALE,
            dataset=DATASETS,
            file=["clips.parquet", "boxes.parquet", "frames"],
        ),
        [
            f"data/{SCALE}/{dataset}/splits/{split}.json"
            for dataset, split in sorted(RUN_SPLITS)
        ],
        [path for d in USED_DETECTORS.values() for path in detector_paths(d)],
        [path for method in METHOD_SETTINGS.values() for path in backbone_files(method)],


rule detections:
    input:
        expand(
            "data/{scale}/{dataset}/detections/quality.json",
            scale=SCALE,
            dataset=DATASETS,
        ),
        [objects_file(name) for name, d in DATASETS.items() if d.objects],


rule models:
    input:
        [path for dataset in DATASETS for path in runs_of(dataset, "metrics.json")],
        [
            path
            for name in REPORTED
            if name in TABLES
            for path in rows_of(TABLES[name], "metrics.json")
        ],


rule versioned_tables:
    input:
        expand(
            f"results/{SCALE}/{{file}}",
            file=[
                "table2.csv",
                "detectors.csv",
                "map.csv",
                "samples.png",
                "report.html",
            ],
        ),
