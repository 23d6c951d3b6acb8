# Archives and models as published, checksums verified.
def local_archive(wildcards):
    """An archive that is copied, and the listing of its checksum."""
    source = DATASETS[wildcards.dataset].archives[wildcards.archive]
    return local_files(*source.urls, source.listing)


rule download_archive:
    input:
        lambda w: by_content(local_archive(w)),
    output:
        "data/{scale}/{dataset}/raw/{archive}",
    log:
        "logs/download/{scale}/{dataset}/{archive}.log",
    retries: 2
    params:
        settings=lambda w: settings_of(
            "download", DATASETS[w.dataset].archives[w.archive]
        ),
        brought=lambda w: brought(*local_archive(w)),
    shell:
        "stclip --log {log:q} download --dataset {wildcards.dataset:q} --scale {wildcards.scale:q}"
        " --name {wildcards.archive:q} --out {output:q}"
        " --record config/checksums/{wildcards.scale:q}/{wildcards.dataset:q}/{wildcards.archive:q}.sha256"


def local_model(wildcards):
    """A model's file that is copied, and the listing of its checksum."""
    source = SCALE_SETTINGS.models[wildcards.model]
    return local_files(*source.urls, source.listing)


rule download_model:
    input:
        lambda w: by_content(local_model(w)),
    output:
        "data/{scale}/models/{model}",
    log:
        "logs/download/{scale}/models/{model}.log",
    retries: 2
    params:
        settings=lambda w: settings_of("download", SCALE_SETTINGS.models[w.model]),
        brought=lambda w: brought(*local_model(w)),
    shell:
        "stclip --log {log:q} download --scale {wildcards.scale:q} --name {wildcards.model:q}"
        " --out {output:q} --record config/checksums/{wildcards.scale:q}/models/{wildcards.model:q}.sha256"
