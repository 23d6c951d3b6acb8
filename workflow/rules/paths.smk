# Where things lie, and which of them a job reads.
def backbone_files(method):
    """Weights to download first, and a model config; those in the package are always there."""
    own = [p for p in method.backbone.files if not p.startswith(package_files.PACKAGE)]
    return by_content(own)


# What comes from outside, by download or by hand; what `checksums` lists is drawn by a rule.
SOURCES = {
    f"models/{name}": source for name, source in SCALE_SETTINGS.models.items()
} | {
    f"{dataset}/raw/{name}": source
    for dataset, its in DATASETS.items()
    for name, source in its.archives.items()
}
FETCHED = {
    f"data/{SCALE}/{name}": source
    for name, source in SOURCES.items()
    if source.listing is None
}


def record_of(path):
    """Where the first SHA-256 of a download is kept."""
    name = path.removeprefix("data/").replace("/raw/", "/")
    return CONFIG / "checksums" / f"{name}.sha256"


@functools.cache
def made_by_a_rule(path):
    return any(rule.is_producer(path) for rule in workflow.rules)


def brought(*paths):
    """What people put there, by its content. Times tell of what rules make, and who replaces a
    download by another file brings one."""
    found = {}
    for path in map(str, paths):
        file = package_files.path_of(path)
        if file.exists() and (path in FETCHED or not made_by_a_rule(path)):
            content = content_of(file)
            source = FETCHED.get(path)
            if not (source and is_as_published(source, content, record_of(path))):
                found[path] = content
    return found


def by_content(paths):
    """As inputs: the times of those that count by their content say nothing."""
    return [path if made_by_a_rule(path) else ancient(path) for path in paths]


@for_all_seeds
def run_backbone(wildcards):
    return backbone_files(run_settings(wildcards))


@for_all_seeds
def run_brought(wildcards):
    return brought(*run_settings(wildcards).backbone.files)


def raw_folder(dataset):
    """Where the archives are, or an unpacked copy."""
    return DATASETS[dataset].extracted or f"data/{SCALE}/{dataset}/raw"


def excluded_files(dataset):
    """The lists of what counts on neither side, or the archives in which they lie."""
    folder = Path(raw_folder(dataset))
    for name in getattr(DATASETS[dataset].key_frames, "excluded", []):
        yield str(file_with(folder, name) or folder / Path(name).parts[0])


def split_file(dataset, family, split):
    return f"data/{SCALE}/{dataset}/splits/{family}/{split}.json"


def detections_file(dataset, detector, family, split):
    """The boxes that a detector finds; a fine-tuned one has boxes of its own for every split."""
    part = f"{family}/{split}" if DETECTORS[detector].finetune else "all"
    return f"data/{SCALE}/{dataset}/detections/{detector}/{part}.parquet"


def reads_detections(dataset):
    """Whether any of the box sources that are scored is a detector's."""
    sources = [DATASETS[dataset].boxes[name].source for name in config["boxes"]]
    return "detections" in sources


def scored_detections(run):
    """The detector's boxes, where they are scored."""
    dataset = run.dataset
    detector = DATASETS[dataset].detector
    path = detections_file(dataset, detector, run.family, run.split)
    return [path] if reads_detections(dataset) else []


def objects_file(dataset):
    """The boxes of objects that the data set's detector of objects finds."""
    return f"data/{SCALE}/{dataset}/objects/{DATASETS[dataset].objects}.parquet"


@functools.cache
def feature_keys(dataset, method):
    """Names of the stored features that a method reads: of frames, and of boxes cut out."""
    its = METHOD_SETTINGS[dataset, method]
    return hashes.frames_key(its), hashes.crops_key(its)


def stored_features(run):
    """What a method reads in place of pictures: kind -> file."""
    dataset, kinds = run.dataset, run_settings(run).features
    folder = f"data/{SCALE}/{dataset}/features"
    frames, crops = (f"{folder}/{key}" for key in feature_keys(run.dataset, run.method))

    def of_boxes(path):
        table = path.removeprefix(f"data/{SCALE}/{dataset}/").removesuffix(".parquet")
        return f"{crops}/{table}.safetensors"

    files = {
        "frames": {"frames": f"{frames}.safetensors"},
        "boxes": {
            "ground_truth": f"{crops}/boxes.safetensors",
            **{"detections": of_boxes(path) for path in scored_detections(run)},
        },
        "objects": {"objects": of_boxes(objects_file(dataset))},
    }
    return {k: path for kind in kinds for k, path in files[kind].items()}


def features_to_train(run):
    """A method that trains nothing reads nothing, and no training looks at detections."""
    if not run_settings(run).train.iterations:
        return {}
    found = stored_features(run)
    return {kind: path for kind, path in found.items() if kind != "detections"}


def objects_of_run(run):
    return [objects_file(run.dataset)] if run_settings(run).objects else []


def feature_options(features, objects):
    """--features KIND=FILE ... --objects FILE"""
    files = [f"{kind}={path}" for kind, path in features.items()]
    return [*options("--features", files), *options("--objects", objects)]


def compared_detectors(dataset):
    """The detectors of the table that have boxes for a data set; its own among them."""
    own = DATASETS[dataset].detector
    listed = DATASETS[dataset].compared if config["detectors"] == "all" else []
    fit = [
        name
        for name in listed or COMPARED
        if dataset in (DETECTORS[name].datasets or [dataset])
    ]
    return fit if own in fit else [own, *fit]


def scoring_settings(wildcards):
    """Settings of the data set that choose boxes and labels."""
    dataset = DATASETS[wildcards.dataset]
    return {
        "boxes": {name: dataset.boxes[name].model_dump() for name in config["boxes"]},
        "scored_labels": dataset.scored_labels,
        "patience_s": dataset.linking.patience_s,
    }


def evaluation_settings(wildcards):
    dataset = DATASETS[wildcards.dataset]
    return {
        "metrics": [metric.model_dump() for metric in dataset.metrics],
        "linking": dataset.linking.model_dump(),
        "voting": dataset.voting,
        "benchmark": dataset.benchmark_of(wildcards.family),
    }


def files_of(runs, name):
    """A file of each run."""
    return [RUN.format(scale=SCALE, **run._asdict()) + f"/{name}" for run in runs]


def reported_files(name):
    """A file of every run of the chosen data sets' own splits."""
    return [
        path for dataset in DATASETS for path in files_of(DATASET_RUNS[dataset], name)
    ]
