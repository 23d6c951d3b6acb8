# Archives, or an unpacked copy -> clips.parquet, boxes.parquet, frames.
def archives_of(wildcards):
    """None where there is an unpacked copy."""
    folder = f"data/{wildcards.scale}/{wildcards.dataset}/raw"
    return [f"{folder}/{name}" for name in DATASETS[wildcards.dataset].archives]


def unpacked_copy(wildcards):
    return [folder for folder in [DATASETS[wildcards.dataset].extracted] if folder]


rule prepare:
    input:
        archives_of,
    output:
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        frames=directory(PREPARED["frames"]),
    log:
        "logs/prepare/{scale}/{dataset}.log",
    threads: need("prepare", "threads", 1)
    resources:
        mem_mb=need("prepare", "mem_mb", 2000),
        runtime=need("prepare", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "prepare", hashes.preparation_settings(DATASETS[w.dataset])
        ),
        brought=lambda w: brought(*archives_of(w), *unpacked_copy(w)),
        raw=lambda w: raw_folder(w.dataset),
    shell:
        "stclip --log {log:q} --threads {threads} prepare --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --raw {params.raw:q}"
        " --out data/{wildcards.scale:q}/{wildcards.dataset:q}"


# Which frames are tested, and which are trained on.
rule key_frames:
    input:
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        excluded=lambda w: by_content(excluded_files(w.dataset)),
    output:
        PREPARED["key_frames"],
    log:
        "logs/key_frames/{scale}/{dataset}.log",
    params:
        settings=lambda w: settings_of(
            "prepare",
            DATASETS[w.dataset].key_frames,
            DATASETS[w.dataset].test_split,
        ),
        brought=lambda w: brought(*excluded_files(w.dataset)),
        raw=lambda w: raw_folder(w.dataset),
    shell:
        "stclip --log {log:q} key-frames --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --clips {input.clips:q} --boxes {input.boxes:q} --raw {params.raw:q} --out {output:q}"
