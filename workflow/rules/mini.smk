# The miniature: draw the archives, train the tiny detector; `snakemake tiny_clip` trains CLIP anew.
MINI_SOURCE = f"data/{SCALE}/source/jhmdb"


rule render_jhmdb:
    output:
        expand(
            "{folder}/{file}",
            folder=MINI_SOURCE,
            file=[
                "Rename_Images.tar.gz",
                "splits.zip",
                "puppet_mask.zip",
                "SHA256SUMS",
                "props.json",
                "props_images.json",
            ],
        ),
    log:
        f"logs/{SCALE}/render.log",
    threads: 2
    params:
        settings=settings_of("render", SCALE_SETTINGS.miniature.get("render", {})),
        folder=MINI_SOURCE,
        scale=SCALE,
    shell:
        "stclip --log {log} mini render --scale {params.scale} --workers {threads} --out {params.folder}"


rule tiny_detector:
    output:
        "data/mini/models/tiny_detector.safetensors",
    log:
        "logs/mini/detector.log",
    params:
        settings=settings_of("detector", SCALE_SETTINGS.miniature.get("detector", {})),
    shell:
        "stclip --log {log} --threads 1 mini detector --scale mini --out {output}"


rule tiny_clip:
    output:
        "data/mini/models/tiny_clip/weights.safetensors",
    log:
        "logs/mini/clip.log",
    shell:
        "stclip --log {log} --threads 1 mini clip --scale mini --out {output}"


rule samples:
    input:
        clips="data/{scale}/jhmdb/clips.parquet",
        boxes="data/{scale}/jhmdb/boxes.parquet",
        frames="data/{scale}/jhmdb/frames",
    output:
        "results/{scale}/samples.png",
    log:
        "logs/samples/{scale}.log",
    params:
        version=VERSION["render"],
    shell:
        "stclip --log {log} mini samples --clips {input.clips} --boxes {input.boxes}"
        " --frames {input.frames} --out {output}"
