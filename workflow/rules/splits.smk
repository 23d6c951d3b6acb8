# The committed label splits -> the clips they select.
rule splits:
    input:
        split=ancient("splits/{dataset}/{family}/{split}.json"),
        clips=PREPARED["clips"],
    output:
        f"{DATA}/splits/{{family}}/{{split}}.json",
    log:
        "logs/splits/{scale}/{dataset}/{family}/{split}.log",
    params:
        settings=lambda w: settings_of(
            "splits",
            DATASETS[w.dataset].test_split,
            DATASETS[w.dataset].scored_labels,
        ),
        brought=lambda w: brought(f"splits/{w.dataset}/{w.family}/{w.split}.json"),
    shell:
        "stclip --log {log:q} splits resolve --scale {wildcards.scale:q} --split {input.split:q}"
        " --clips {input.clips:q} --out {output:q}"
