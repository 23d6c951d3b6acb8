"""profiles/kubernetes: a manifest of known fields whose pod has what the profile gives out.

No cluster takes part: that the pod really starts is not shown here.
"""

from typing import Any

import kubernetes.client
import yaml
from conftest import ROOT
from small_project import planned, run_in

PROFILE = ROOT / "profiles" / "kubernetes"
MANIFEST = yaml.safe_load((PROFILE / "job.yaml").read_text())
(CONTAINER,) = MANIFEST["spec"]["template"]["spec"]["containers"]


def unknown_fields(content: Any, kind: str, where: str = "") -> list[str]:
    """Keys that the Kubernetes API, as its client describes it, does not have."""
    if kind.startswith("list["):
        parts = [unknown_fields(c, kind[5:-1], f"{where}[{i}]") for i, c in enumerate(content)]
        return [field for part in parts for field in part]
    model = getattr(kubernetes.client, kind, None)
    if model is None:  # a string, a number, a mapping of them
        return []
    kinds = {name: model.openapi_types[own] for own, name in model.attribute_map.items()}
    found = [f"{where}.{key}" for key in content if key not in kinds]
    for key in content.keys() & kinds.keys():
        found += unknown_fields(content[key], kinds[key], f"{where}.{key}")
    return found


def gibibytes(text: str) -> int:
    assert text.endswith("Gi")
    return int(text.removesuffix("Gi"))


def test_the_manifest_has_fields_that_kubernetes_knows() -> None:
    assert unknown_fields(MANIFEST, "V1Job") == []
    wrong = {"spec": {"template": {"spec": {"containers": [{"name": "a", "ports_": []}]}}}}
    assert unknown_fields(wrong, "V1Job") == [".spec.template.spec.containers[0].ports_"]


def test_the_pod_has_what_the_profile_gives_out() -> None:
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    has = dict(entry.split("=") for entry in profile["resources"])
    needs = CONTAINER["resources"]
    assert str(needs["limits"]["nvidia.com/gpu"]) == has["gpu"]
    assert needs["requests"]["cpu"] == profile["cores"]
    assert needs["requests"]["memory"] == needs["limits"]["memory"]
    volumes = {v["name"]: v for v in MANIFEST["spec"]["template"]["spec"]["volumes"]}
    assert {m["name"] for m in CONTAINER["volumeMounts"]} == volumes.keys()
    shared = gibibytes(volumes["shared-memory"]["emptyDir"]["sizeLimit"])  # counts as its memory
    left = (gibibytes(needs["limits"]["memory"]) - shared) * 2**30
    assert int(has["mem_mb"]) * 10**6 <= left


def test_its_command_plans_jobs_of_as_many_gpus() -> None:
    (script,) = CONTAINER["args"]
    _, _, command = script.rpartition("exec ")
    more = ["-n", "-p", "--quiet", "host", "--set-resources", "train:gpu=8"]
    done = run_in(ROOT, *command.split(), *more)
    assert planned(done)["train"] > 0
    assert "stclip gpus 8 torchrun --standalone --nproc-per-node 8 --no-python -- " in done.stdout
