"""How long work takes: assumptions until a machine has been measured. Light: no torch here."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """Of one job."""

    operations: float = 0.0  # two a multiply-add
    precision: str = "fp32"
    pictures: float = 0.0  # read and resized for the model
    rows: float = 0.0  # of scores that are evaluated
    written: float = 0.0  # bytes that stay


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast work is done; docs/scaling.md says where the numbers come from."""

    bf16_tflops: float = 50.0  # sustained, of a GPU
    fp32_tflops: float = 10.0
    pictures_per_s: float = 700.0  # of a core
    start_s: float = 15.0  # of a job with a GPU: imports, weights
    light_s: float = 30.0  # of a job without
    rows_per_s: float = (
        14_000.0  # boxes that a core evaluates, as benchmarks/results/evaluate_ucf.json
    )

    def seconds(self, work: Work, *, threads: int, gpus: int) -> float:
        """Of a job: all threads but one read while the GPUs compute, so the slower of both."""
        reading = work.pictures / (self.pictures_per_s * max(1, threads - 1))
        if not gpus:
            return self.light_s + reading
        tflops = self.bf16_tflops if work.precision == "bf16" else self.fp32_tflops
        return self.start_s + max(work.operations / (tflops * 1e12 * gpus), reading)
