# The miniature: draw the archives, train the tiny detectors. The tiny CLIPs come with the package;
# `snakemake data/mini/models/tiny_clip/weights.safetensors` trains one anew.
for name, recipe in SCALE_SETTINGS.miniature.render.items():

    rule:
        name:
            f"render_{name}"
        output:
            [
                f"data/{SCALE}/source/{name}/{file}"
                for file in recipe.files
                + (
                    listed_names(CONFIG / "datasets" / recipe.names)
                    if recipe.names
                    else []
                )
            ],
        log:
            f"logs/{SCALE}/render/{name}.log",
        threads: 2
        params:
            settings=settings_of("render", recipe, recipe.sources),
            folder=f"data/{SCALE}/source/{name}",
            dataset=name,
            scale=SCALE,
        shell:
            "stclip --log {log:q} mini render --scale {params.scale:q} --dataset {params.dataset:q}"
            " --workers {threads} --out {params.folder:q}"


rule random_weights:
    output:
        "data/{scale}/source/models/{model}",
        "data/{scale}/source/models/{model}.sha256",
    log:
        "logs/mini/{scale}/weights/{model}.log",
    wildcard_constraints:
        model=one_of(SCALE_SETTINGS.miniature.weights),
    params:
        settings=lambda w: settings_of(
            "render",
            SCALE_SETTINGS.miniature.weights[w.model],
            SCALE_SETTINGS.miniature.weights[w.model].sources,
        ),
    shell:
        "stclip --log {log:q} --threads {threads} mini weights --scale {wildcards.scale:q}"
        " --name {wildcards.model:q} --out {output[0]:q}"


rule tiny_detector:
    output:
        "data/mini/models/{recipe}.safetensors",
    log:
        "logs/mini/models/{recipe}.log",
    wildcard_constraints:
        recipe=one_of(SCALE_SETTINGS.miniature.detectors),
    params:
        settings=lambda w: settings_of(
            "detector", SCALE_SETTINGS.miniature.detectors[w.recipe]
        ),
    shell:
        "stclip --log {log:q} --threads 1 mini detector --scale mini --name {wildcards.recipe:q}"
        " --out {output:q}"


rule tiny_clip:
    output:
        "data/mini/models/{recipe}/weights.safetensors",
    log:
        "logs/mini/models/{recipe}.log",
    wildcard_constraints:
        recipe=one_of(SCALE_SETTINGS.miniature.clips),
    shell:
        "stclip --log {log:q} --threads 1 mini clip --scale mini --name {wildcards.recipe:q}"
        " --out {output:q}"


rule samples:
    input:
        clips=PREPARED["clips"],
        boxes=PREPARED["boxes"],
        frames=PREPARED["frames"],
    output:
        "results/{scale}/samples/{dataset}.png",
    log:
        "logs/samples/{scale}/{dataset}.log",
    params:
        version=VERSION["render"],
    shell:
        "stclip --log {log:q} mini samples --clips {input.clips:q} --boxes {input.boxes:q}"
        " --frames {input.frames:q} --out {output:q}"
