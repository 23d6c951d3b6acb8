# Archives and models as published, checksums verified.
rule download_archive:
    input:
        lambda w: local_files(
            DATASETS[w.dataset].archives[w.archive].url,
            DATASETS[w.dataset].archives[w.archive].checksums,
        ),
    output:
        "data/{scale}/{dataset}/raw/{archive}",
    log:
        "logs/download/{scale}/{dataset}/{archive}.log",
    retries: 2
    params:
        settings=lambda w: settings_of(
            "download", DATASETS[w.dataset].archives[w.archive]
        ),
    shell:
        "stclip --log {log} download --dataset {wildcards.dataset} --scale {wildcards.scale}"
        " --name {wildcards.archive} --out {output}"
        " --record config/checksums/{wildcards.scale}/{wildcards.dataset}/{wildcards.archive}.sha256"


rule download_model:
    output:
        "data/{scale}/models/{model}",
    log:
        "logs/download/{scale}/models/{model}.log",
    retries: 2
    params:
        settings=lambda w: settings_of("download", SCALE_SETTINGS.models[w.model]),
    shell:
        "stclip --log {log} download --scale {wildcards.scale} --name {wildcards.model}"
        " --out {output} --record config/checksums/{wildcards.scale}/models/{wildcards.model}.sha256"
