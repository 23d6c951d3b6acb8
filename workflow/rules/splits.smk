# The committed label splits -> the clips they select.
rule splits:
    input:
        split="splits/{dataset}/{split}.json",
        clips="data/{scale}/{dataset}/clips.parquet",
    output:
        "data/{scale}/{dataset}/splits/{split}.json",
    log:
        "logs/splits/{scale}/{dataset}/{split}.log",
    params:
        version=VERSION["splits"],
    shell:
        "stclip --log {log} splits resolve --split {input.split} --clips {input.clips}"
        " --out {output}"
