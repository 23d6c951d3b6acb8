TRAIN_GPUS = need("train", "gpu", 0)


def gpus_to_train(wildcards):
    """None where nothing is trained."""
    return TRAIN_GPUS if run_settings(wildcards).train.iterations else 0


def launcher(wildcards, resources):
    """Free GPUs and, of several, a process for each."""
    torchrun = f"torchrun --standalone --nproc-per-node {resources.gpu} --no-python -- "
    return on_gpus(wildcards, resources) + torchrun * (resources.gpu > 1)


def threads_of_a_process(wildcards, threads, resources):
    return max(1, threads // max(1, resources.gpu))


def workers_of_a_process(wildcards, threads, resources):
    return threads_of_a_process(wildcards, threads, resources) - 1


@for_all_seeds
def training_settings(wildcards):
    return settings_of("train", hashes.training_settings(run_settings(wildcards)))


# One method on the base classes of one split.
rule train:
    input:
        **PREPARED,
        split=f"{DATA}/splits/{{family}}/{{split}}.json",
        backbone=run_backbone,
        features=lambda w: list(features_to_train(w).values()),
        objects=objects_of_run,
    output:
        weights=f"{RUN}/weights.safetensors",
        config=f"{RUN}/config.yaml",
        log=f"{RUN}/log.jsonl",
    log:
        "logs/train/{scale}/{dataset}/{family}/{split}/{method}/{seed}.log",
    threads: need("train", "threads", 1)
    resources:
        gpu=gpus_to_train,
        mem_mb=need("train", "mem_mb", 2000),
        runtime=need("train", "runtime", 30),
    params:
        settings=training_settings,
        brought=run_brought,
        out=RUN,
        launcher=launcher,
        threads=threads_of_a_process,
        features=lambda w: feature_options(features_to_train(w), objects_of_run(w)),
        workers=workers_of_a_process,
    shell:
        "{params.launcher}stclip --log {log:q} --threads {params.threads} train"
        " --method {wildcards.method:q} --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --split {input.split:q} --clips {input.clips:q} --boxes {input.boxes:q}"
        " --key-frames {input.key_frames:q} --frames {input.frames:q}"
        " {params.features:q} --seed {wildcards.seed:q} --workers {params.workers} --out {params.out:q}"
