"""What tables cost before anything runs."""

from typing import Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, Out, ScaleName, app
from stclip.costs.rates import Rates

ASSUMED = Rates()


@app.command()
def plan(
    targets: Annotated[list[str], typer.Argument(help="As for snakemake: results/table2.csv ...")],
    scale: ScaleName,
    out: Out,
    bf16_tflops: Annotated[
        float, typer.Option(help="Sustained by a GPU in bfloat16, 10^12 operations a second.")
    ] = ASSUMED.bf16_tflops,
    fp32_tflops: Annotated[float, typer.Option(help="The same in fp32.")] = ASSUMED.fp32_tflops,
    pictures_per_s: Annotated[
        float, typer.Option(help="Read and resized by a core.")
    ] = ASSUMED.pictures_per_s,
    start_s: Annotated[float, typer.Option(help="Of a job with a GPU.")] = ASSUMED.start_s,
    light_s: Annotated[float, typer.Option(help="Of a job without.")] = ASSUMED.light_s,
    config: ConfigFolder = CONFIG,
) -> None:
    """Jobs, GPU hours, disk and time of tables, counted; the rates are assumptions."""
    from stclip.costs.plan import build_plan, dry_run
    from stclip.costs.workload import Workload
    from stclip.tables.table_files import write_table

    rates = Rates(
        bf16_tflops=bf16_tflops, fp32_tflops=fp32_tflops, pictures_per_s=pictures_per_s,
        start_s=start_s, light_s=light_s,
    )  # fmt: skip
    workload = Workload(config, scale)
    frame = build_plan(dry_run(targets, scale), targets, work_of=workload.of, rates=rates)
    write_table(frame, out, text_columns=1, caption=f"Planned cost (scale {scale}); {rates}.")
