"""Processor, memory, GPU and limits of this machine, and whether jobs of the scale fit on it.

`look` asks the machine; what follows from it is decided without it, from a `Machine` and `Needs`.
"""

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from stclip.doctor.finding import Finding, Status, of_machine, some
from stclip.doctor.needs import RULES_OWN_MB, Needs
from stclip.runtime.gpus import VISIBLE, visible_gpus
from stclip.runtime.precision import gpu_has_bf16

MB, GB = 1e6, 1e9
CGROUP = Path("/sys/fs/cgroup")  # limits of a container
SHARED = Path("/dev/shm")  # through which processes hand over batches
SHARED_MB = 1000  # a few batches of 224 x 224 pictures for each of eight processes
OPEN_FILES = 1024  # the usual limit; each tensor that is handed over is an open file


@dataclass(frozen=True)
class Gpu:
    """A GPU that PyTorch can use."""

    name: str
    memory_gb: float
    bf16: bool  # in hardware


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What this process may use of the machine."""

    cores: int
    memory_mb: float
    free_mb: float
    shared_mb: float | None  # free in /dev/shm; None where there is none
    open_files: int
    gpus: tuple[Gpu, ...] = ()
    shown_gpus: int = 0  # by the driver, or by CUDA_VISIBLE_DEVICES
    hidden: bool = False  # CUDA_VISIBLE_DEVICES is set
    cuda: str | None = None  # that PyTorch is built for


def look() -> Machine:
    """This machine, as this process sees it."""
    memory_mb, free_mb = _memory_mb()
    return Machine(
        cores=_cores(), memory_mb=memory_mb, free_mb=free_mb,
        shared_mb=shutil.disk_usage(SHARED).free / MB if SHARED.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        gpus=tuple(_gpus()), shown_gpus=len(visible_gpus()), hidden=VISIBLE in os.environ,
        cuda=torch.version.cuda,
    )  # fmt: skip


def check_machine(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """GPU, cores, memory, shared memory and open files against what the scale's jobs ask for."""
    yield _gpu(machine, needs)
    yield _cores_of(machine, needs)
    yield _memory_of(machine, needs)
    yield _shared(machine, needs)
    yield _open_files(machine)


def _gpu(machine: Machine, needs: Needs) -> Finding:
    wanted, rules = needs.most("gpu", 0)
    there = ", ".join(f"{g.name}, {g.memory_gb:.0f} GB" for g in machine.gpus)
    if not wanted:
        return of_machine("gpu", "ok", f"{there or 'none'}; scale {needs.name} asks for none")
    asked = f"{some(rules)} ask for {wanted}"
    if len(machine.gpus) < wanted:
        found, to_do = _why_too_few(machine)
        return of_machine("gpu", "problem", f"{there or 'none'}: {found}; {asked}", to_do)
    slow = [gpu.name for gpu in machine.gpus if not gpu.bf16]
    if slow and needs.half_precision:
        found = f"{there}, CUDA {machine.cuda}; {some(slow)} has no bf16 in hardware"
        to_do = f"{some(needs.half_precision)} will be slow; set `precision: fp32`, or take another"
        return of_machine("gpu", "note", found, to_do)
    bf16 = "without bf16" if slow else "bf16 in hardware"
    return of_machine("gpu", "ok", f"{there}, {bf16}, CUDA {machine.cuda}; {asked}")


def _why_too_few(machine: Machine) -> tuple[str, str]:
    if machine.gpus:
        to_do = "lower `gpu` under `resources` of the scale, or take a machine with more"
        return "too few", to_do
    if machine.shown_gpus and machine.cuda is None:
        found = f"the driver shows {machine.shown_gpus}, but this PyTorch is built without CUDA"
        return found, "install a PyTorch with CUDA (make setup; environment.yml)"
    if machine.shown_gpus:
        found = f"the driver shows {machine.shown_gpus}, but PyTorch cannot use any"
        return found, (
            f"this PyTorch needs a driver for CUDA {machine.cuda}: update the driver, or install a "
            "PyTorch for an older CUDA; `nvidia-smi` tells the driver's"
        )
    if machine.hidden:
        return f"{VISIBLE} shows none", f"unset {VISIBLE}, or name the GPUs to use in it"
    return "no driver shows one", (
        "run at a machine with a GPU; on a cluster the nodes count, not the machine that submits "
        "(docs/scaling.md): call `stclip doctor` in a job there"
    )


def _cores_of(machine: Machine, needs: Needs) -> Finding:
    wanted, rules = needs.most("threads", 1)
    found = f"{machine.cores}; a job asks for up to {wanted}"
    if machine.cores >= wanted:
        return of_machine("cores", "ok", found)
    to_do = f"nothing, but {some(rules)} take longer with {machine.cores} threads"
    return of_machine("cores", "note", found, to_do)


def _memory_of(machine: Machine, needs: Needs) -> Finding:
    wanted, rules = needs.most("mem_mb", RULES_OWN_MB)
    found = (
        f"{machine.memory_mb / 1e3:.0f} GB, {machine.free_mb / 1e3:.0f} GB free; a job asks for up "
        f"to {wanted / 1e3:.0f} GB"
    )
    if machine.memory_mb < wanted:
        to_do = (
            f"{some(rules)} may run out of memory here; lower `mem_mb` under `resources` of the "
            "scale only if you know that a job takes less"
        )
        return of_machine("memory", "problem", found, to_do)
    if machine.free_mb < wanted:
        return of_machine("memory", "note", found, "end what else takes memory before the run")
    return of_machine("memory", "ok", found)


def _shared(machine: Machine, needs: Needs) -> Finding:
    if machine.shared_mb is None:
        to_do = "batches go through the temporary folder, if at all; mount a tmpfs at /dev/shm"
        return of_machine("shared memory", "note", "there is no /dev/shm", to_do)
    found = f"{machine.shared_mb / 1e3:.1f} GB free in /dev/shm"
    if machine.shared_mb >= SHARED_MB:
        return of_machine("shared memory", "ok", found)
    status: Status = "problem" if needs.threads > 1 else "note"
    found += "; processes that read ahead hand over their batches there"
    to_do = f"give it {SHARED_MB / 1e3:.0f} GB (docker run --shm-size 8g), or clear it"
    return of_machine("shared memory", status, found, to_do)


def _open_files(machine: Machine) -> Finding:
    found = f"a process may have {machine.open_files} open"
    if machine.open_files >= OPEN_FILES or machine.open_files == resource.RLIM_INFINITY:
        return of_machine("open files", "ok", found)
    to_do = f"ulimit -n {OPEN_FILES} or more: each batch that is handed over is an open file"
    return of_machine("open files", "note", found, to_do)


def _gpus() -> Iterator[Gpu]:
    if not torch.cuda.is_available():
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        yield Gpu(about.name, about.total_memory / GB, gpu_has_bf16(number))


def _cores() -> int:
    """Those that this process may run on, and no more than a container's share of time."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    return min(mine, max(1, int(quota) // int(period))) if quota.isdigit() and period else mine


def _memory_mb() -> tuple[float, float]:
    """All memory and what is free of it, no more than a container may take."""
    page = os.sysconf("SC_PAGE_SIZE")
    whole = free = os.sysconf("SC_PHYS_PAGES") * page / MB
    info = Path("/proc/meminfo")
    if info.exists():
        rows = dict(line.split(":", 1) for line in info.read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024 / MB
    limit = _limit("memory.max")
    if limit.isdigit():
        whole = min(whole, int(limit) / MB)
    return whole, min(free, whole)


def _limit(name: str) -> str:
    path = CGROUP / name
    try:
        return path.read_text().strip()
    except OSError:
        return ""
