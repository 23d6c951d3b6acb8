"""What methods and tables cost: costs, parts, latency, complexity, plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    FramesFolder,
    KeyFramesFile,
    MethodName,
    MetricsFiles,
    ObjectsFile,
    Out,
    ScaleName,
    SplitFile,
    TableName,
    Workers,
    app,
    by_kind,
    read_data,
)
from stclip.costs.rates import Rates
from stclip.errors import ConfigError

if TYPE_CHECKING:
    from stclip.config import MethodConfig
    from stclip.config.drawn_tables import LatencyTable, PartsTable

T = TypeVar("T", bound="PartsTable | LatencyTable")
ASSUMED = Rates()


@app.command()
def costs(
    metrics: MetricsFiles,
    dataset: Dataset,
    scale: ScaleName,
    method: Annotated[list[str], typer.Option(help="Methods to measure.")],
    split: SplitFile,
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    out: Out,
    features: Annotated[
        list[str] | None, typer.Option(help="METHOD:KIND=FILE from `stclip features`.")
    ] = None,
    objects: ObjectsFile = None,
    steps: Annotated[int, typer.Option(help="Training steps to time.", min=2)] = 10,
    videos: Annotated[int, typer.Option(help="Test videos to score.", min=1)] = 10,
    config: ConfigFolder = CONFIG,
) -> None:
    """Measure what every method costs, alone on this machine; JSON for a table of kind costs."""
    from dataclasses import replace

    from stclip import config as c
    from stclip.costs.measure import measure
    from stclip.costs.measured import write_costs
    from stclip.evaluate.rules import shown_boxes
    from stclip.records import LabelSplit
    from stclip.runtime.device import machine
    from stclip.runtime.provenance import provenance
    from stclip.storage.files import read_json
    from stclip.tables.cost_table import numbers_of_cost
    from stclip.tracking.wandb_runs import numbers_of, tracked
    from stclip.train.run_folder import run_hash

    label_split = LabelSplit.read(split)
    prepared = read_data(clips, boxes, key_frames, frames, objects=objects)
    about = c.load_dataset(config, dataset, scale=scale)
    runs = [read_json(path) for path in metrics]
    boxes_shown = shown_boxes(runs[0]["metrics"])
    found = []
    for name in method:
        settings = c.load_method(config, name, dataset=dataset, scale=scale)
        own = [f.removeprefix(f"{name}:") for f in features or [] if f.startswith(f"{name}:")]
        data = replace(
            prepared,
            features=by_kind(own),
            objects=prepared.objects if settings.objects else None,
        )
        found.append(measure(settings, data, split=label_split, steps=steps, videos=videos))
        head = provenance(settings, about, scale=scale, split=label_split, seed=0)
        head["on"] = machine()
        with tracked("costs", head, run=run_hash(settings, label_split, 0)) as tracker:
            numbers = numbers_of_cost(found[-1], runs, boxes=boxes_shown, splits=about.splits)
            tracker.results(numbers_of({"costs": numbers}))
    write_costs(out, found, where=machine())


@app.command()
def parts(table: TableName, scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Count what the parts of a method cost, random weights; JSON for a table of kind parts."""
    from stclip.config.drawn_tables import PartsTable
    from stclip.costs.measured import write_costs
    from stclip.costs.parts import count_parts
    from stclip.runtime.device import machine

    settings, methods = _drawn(table, PartsTable, config=config, scale=scale)
    write_costs(out, count_parts(settings, methods), where=machine())


@app.command()
def latency(
    table: TableName,
    scale: ScaleName,
    out: Out,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Time a drawn film on 1, 2, 4, ... and all GPUs; JSON for a table of kind latency."""
    from stclip.config.drawn_tables import LatencyTable
    from stclip.config.resolve import load_dataset
    from stclip.costs.latency import measure_latency
    from stclip.costs.measured import write_costs
    from stclip.runtime.device import machine
    from stclip.runtime.gpus import visible_gpus

    settings, methods = _drawn(table, LatencyTable, config=config, scale=scale)
    about = load_dataset(config, settings.dataset, scale=scale)
    found = [
        latency
        for method in methods.values()
        for latency in measure_latency(
            method, key_frames=settings.key_frames, persons=settings.persons,
            labels=settings.labels, store=about.frame_store, gpus=visible_gpus(), workers=workers,
        )
    ]  # fmt: skip
    write_costs(out, found, where=machine())


def _drawn(
    name: str, kind: "type[T]", *, config: Path, scale: str
) -> "tuple[T, dict[str, MethodConfig]]":
    """A table of drawn pictures, and the settings of its methods by name."""
    from stclip import config as c
    from stclip.config.table import load_table

    table = load_table(config, name, scale=scale)
    if not isinstance(table, kind):
        raise ConfigError(f"table {name!r} is of kind {table.kind}; this command makes another.")
    methods = table.methods([])
    return table, {m: c.load_method(config, m, dataset=table.dataset, scale=scale) for m in methods}


@app.command()
def complexity(
    method: MethodName = "st_clip",
    backbone: Annotated[str, typer.Option(help="An open_clip model.")] = "ViT-B-16-quickgelu",
    persons: Annotated[int, typer.Option(help="Boxes of a key frame.", min=1)] = 1,
    labels: Annotated[int, typer.Option(help="Class names.", min=1)] = 6,
    key_frames: Annotated[int, typer.Option(help="Key frames of a video.", min=1)] = 1,
    interest_tokens: Annotated[
        int, typer.Option(help="K of interest token spotting; 0 without.", min=0)
    ] = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Multiply-adds of a method as published, by part, in G."""
    from stclip.methods.build import method_class
    from stclip.methods.layers.multiply_adds import tower_of

    count = method_class(method, config=config).key_frame_macs
    if count is None:
        raise ConfigError(f"method {method!r} does not say what it costs.")
    parts = count(
        tower_of(backbone), persons=persons, labels=labels, interest_tokens=interest_tokens
    )
    for part, macs in {**parts, "total": sum(parts.values())}.items():
        typer.echo(f"{part:28} {key_frames * macs / 1e9:10.2f} G")


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
    measured: Annotated[
        str | None,
        typer.Option(help="A scale that was rehearsed on this machine: its speeds, not assumed."),
    ] = None,
    stages: Annotated[
        Path | None, typer.Option(help="Where its stages are written, beside the real run's.")
    ] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Jobs, GPU hours, disk and time of tables, counted; rates are assumed, or were measured."""
    from stclip.costs.plan import build_plan, dry_run
    from stclip.costs.rehearsed import Speeds, read_done, stage_table
    from stclip.costs.workload import Workload
    from stclip.tables.table_files import write_table

    rates = Rates(
        bf16_tflops=bf16_tflops, fp32_tflops=fp32_tflops, pictures_per_s=pictures_per_s,
        start_s=start_s, light_s=light_s,
    )  # fmt: skip
    if stages and not measured:
        raise typer.BadParameter("--stages are those of a rehearsed scale; name it, --measured.")
    workload, jobs = Workload(config, scale), dry_run(targets, scale)
    if measured is None:
        frame = build_plan(jobs, targets, work_of=workload.of, rates=rates)
        write_table(frame, out, text_columns=1, caption=f"Planned cost (scale {scale}); {rates}.")
        return
    rehearsal = Workload(config, measured, prepared=Path("data") / measured)
    done = read_done(dry_run(targets, measured), work_of=rehearsal.of)
    planned = [(job, workload.of(job.rule, job.wildcards)) for job in jobs]
    seconds = Speeds(done, rates=rates).of_all(planned)
    frame = build_plan(
        jobs, targets, work_of=workload.of, rates=rates,
        seconds_of=lambda job, _: seconds[job.number],
    )  # fmt: skip
    machines = " and ".join(sorted({d.usage.on for d in done} - {""}))
    about = f"(scale {scale}), by the speeds of scale {measured} on {machines}"
    write_table(frame, out, text_columns=1, caption=f"Planned cost {about}.")
    if stages:
        table = stage_table(done, planned, seconds=seconds)
        write_table(table, stages, text_columns=1, caption=f"Rehearsed, and real {about}.")
