# Persons on the key frames of the test clips, unfiltered; how good they are, and their ceiling.
# Objects there and on key frames of the training clips.
rule finetune:
    input:
        lambda w: by_content(DETECTORS[w.detector].paths),
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        frames=PREPARED["frames"],
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
    output:
        f"{DATA}/detectors/{{detector}}/{{family}}/{{split}}.safetensors",
    log:
        "logs/finetune/{scale}/{dataset}/{detector}/{family}/{split}.log",
    threads: need("finetune", "threads", 1)
    resources:
        gpu=need("finetune", "gpu", 0),
        mem_mb=need("finetune", "mem_mb", 2000),
        runtime=need("finetune", "runtime", 30),
    params:
        launcher=on_gpus,
        brought=lambda w: brought(*DETECTORS[w.detector].paths),
        settings=lambda w: settings_of(
            "finetune", hashes.finetuning_settings(DETECTORS[w.detector])
        ),
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} finetune"
        " --detector {wildcards.detector:q}"
        " --scale {wildcards.scale:q} --split {input.split:q} --clips {input.clips:q}"
        " --boxes {input.boxes:q} --frames {input.frames:q}"
        " --workers {params.workers} --out {output:q}"


def detector_inputs(wildcards):
    """What a detector reads: its files, or the weights and the split of its fine-tuning."""
    detector = DETECTORS[wildcards.detector]
    if not detector.finetune:
        return by_content(detector.paths)
    folder = f"data/{wildcards.scale}/{wildcards.dataset}"
    return [
        *by_content(detector.files.values()),
        f"{folder}/detectors/{wildcards.detector}/{wildcards.part}.safetensors",
        f"{folder}/splits/{wildcards.part}.json",
    ]


def finetuned_options(wildcards, input):
    """Options that name weights and split of a fine-tuned detector."""
    if not DETECTORS[wildcards.detector].finetune:
        return []
    *_, weights, split = input.detector
    return ["--weights", weights, "--split", split]


rule detect:
    input:
        detector=detector_inputs,
        clips=PREPARED["clips"],
        key_frames=PREPARED["key_frames"],
        frames=PREPARED["frames"],
    output:
        f"{DATA}/detections/{{detector}}/{{part}}.parquet",
    log:
        "logs/detect/{scale}/{dataset}/{detector}/{part}.log",
    threads: need("detect", "threads", 1)
    resources:
        gpu=need("detect", "gpu", 0),
        mem_mb=need("detect", "mem_mb", 2000),
        runtime=need("detect", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of(
            "detect",
            hashes.detection_settings(DETECTORS[w.detector]),
        ),
        brought=lambda w: brought(*detector_inputs(w)),
        finetuned=finetuned_options,
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} detect"
        " --detector {wildcards.detector:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} {params.finetuned:q}"
        " --clips {input.clips:q} --key-frames {input.key_frames:q} --frames {input.frames:q} --workers {params.workers}"
        " --out {output:q}"


rule objects:
    input:
        detector=lambda w: by_content(OF_OBJECTS[w.objects].paths),
        clips=PREPARED["clips"],
        key_frames=PREPARED["key_frames"],
        frames=PREPARED["frames"],
    output:
        f"{DATA}/objects/{{objects}}.parquet",
    log:
        "logs/objects/{scale}/{dataset}/{objects}.log",
    threads: need("objects", "threads", 1)
    resources:
        gpu=need("objects", "gpu", 0),
        mem_mb=need("objects", "mem_mb", 2000),
        runtime=need("objects", "runtime", 30),
    params:
        launcher=on_gpus,
        settings=lambda w: settings_of(
            "detect",
            hashes.detection_settings(OF_OBJECTS[w.objects]),
        ),
        brought=lambda w: brought(*OF_OBJECTS[w.objects].paths),
        workers=lambda w, threads: threads - 1,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {threads} detect"
        " --detector {wildcards.objects:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --train-clips"
        " --clips {input.clips:q} --key-frames {input.key_frames:q} --frames {input.frames:q} --workers {params.workers}"
        " --out {output:q}"


def named_detections(wildcards):
    """NAME=FILE or NAME:SPLIT=FILE of every detector of the table."""
    dataset = DATASETS[wildcards.dataset]
    return [
        f"{name}:{split}={detections_file(wildcards.dataset, name, dataset.family, split)}"
        for name in compared_detectors(wildcards.dataset)
        for split in dataset.splits
    ]


rule quality:
    input:
        lambda w: sorted({text.partition("=")[2] for text in named_detections(w)}),
        splits=lambda w: [
            split_file(w.dataset, DATASETS[w.dataset].family, split)
            for split in DATASETS[w.dataset].splits
        ],
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        key_frames=PREPARED["key_frames"],
    output:
        f"{DATA}/quality.json",
    log:
        "logs/quality/{scale}/{dataset}.log",
    resources:
        mem_mb=need("quality", "mem_mb", 2000),
        runtime=need("quality", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "quality",
            {n: b.model_dump() for n, b in DATASETS[w.dataset].boxes.items()},
            DATASETS[w.dataset].title,
            DATASETS[w.dataset].benchmark_of(DATASETS[w.dataset].family),
        ),
        detections=named_detections,
        splits=lambda w, input: options("--split", input.splits),
    shell:
        "stclip --log {log:q} --threads 1 quality {params.detections:q} {params.splits:q}"
        " --dataset {wildcards.dataset:q} --scale {wildcards.scale:q} --clips {input.clips:q}"
        " --boxes {input.boxes:q} --key-frames {input.key_frames:q} --out {output:q}"
