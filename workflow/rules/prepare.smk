# Archives, or an unpacked copy -> clips.parquet, boxes.parquet, frames.
rule prepare:
    input:
        lambda w: expand(
            "data/{scale}/{dataset}/raw/{archive}",
            scale=w.scale,
            dataset=w.dataset,
            archive=DATASETS[w.dataset].archives,
        ),
    output:
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        frames=directory(PREPARED["frames"]),
    log:
        "logs/prepare/{scale}/{dataset}.log",
    resources:
        mem_mb=need("prepare", "mem_mb", 2000),
        runtime=need("prepare", "runtime", 30),
    params:
        settings=lambda w: settings_of(
            "prepare",
            DATASETS[w.dataset].params,
            DATASETS[w.dataset].target,
            DATASETS[w.dataset].frame_store,
        ),
        raw=lambda w: raw_folder(w.dataset),
    shell:
        "stclip --log {log:q} prepare --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --raw {params.raw:q}"
        " --out data/{wildcards.scale:q}/{wildcards.dataset:q}"


def excluded_seconds(wildcards):
    """The list of what counts on neither side, among the archives."""
    name = getattr(DATASETS[wildcards.dataset].key_frames, "excluded", None)
    return [] if name is None else [f"{raw_folder(wildcards.dataset)}/{name}"]


# Which frames are tested, and which are trained on.
rule key_frames:
    input:
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        excluded=excluded_seconds,
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
        excluded=lambda w, input: options("--excluded", input.excluded),
    shell:
        "stclip --log {log:q} key-frames --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --clips {input.clips:q} --boxes {input.boxes:q} {params.excluded:q} --out {output:q}"
