# What the stages of dvc.yaml build: targets only.
MODELS = f"data/{SCALE}/models/"
DETECTOR_FILES = [path for d in USED_DETECTORS.values() for path in d.paths]


rule weights:
    input:
        [path for path in DETECTOR_FILES if path.startswith(MODELS)],
        lambda w: [
            path
            for method in METHOD_SETTINGS.values()
            for path in backbone_files(method)
        ],


rule data:
    input:
        expand(
            "data/{scale}/{dataset}/{file}",
            scale=SCALE,
            dataset=DATASETS,
            file=["clips.parquet", "boxes.parquet", "key_frames.parquet", "frames"],
        ),
        [split_file(*split) for split in sorted(RUN_SPLITS)],
        [path for path in DETECTOR_FILES if not path.startswith(MODELS)],


rule detections:
    input:
        expand("data/{scale}/{dataset}/quality.json", scale=SCALE, dataset=DATASETS),
        [objects_file(name) for name, d in DATASETS.items() if d.objects],


rule models:
    input:
        lambda w: reported_files("metrics.json"),
        lambda w: reported_files("predictions.png"),
        lambda w: [
            path
            for name in REPORTED
            for path in files_of(TABLE_RUNS[name], "metrics.json")
        ],
        lambda w: [
            path
            for name, figure in FIGURES.items()
            for file in figure.files
            for path in files_of(FIGURE_RUNS[name], file)
        ],


rule summaries:
    input:
        expand(
            "results/summary/{scale}/{dataset}/map.csv", scale=SCALE, dataset=DATASETS
        ),
