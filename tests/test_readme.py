"""What the README shows is what the pipeline wrote; what it names exists."""

import re

import pytest
import yaml
from conftest import ROOT

from stclip.errors import DataError
from stclip.tables.table_files import put_into, read_table

README = ROOT / "README.md"
TABLE = ROOT / "docs" / "results" / "mini" / "table2.csv"
TABLES = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / "config/tables").glob("*.yaml")}
ABLATIONS = [
    n for n, t in sorted(TABLES.items()) if t["kind"] == "ablation" and t.get("of_paper", True)
]
DOCUMENTS = [
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "config" / "README.md",
    ROOT / "baselines" / "README.md",
]
SPEED = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("document", "table", "row"),
    [
        (README, TABLE, "| ST-CLIP"),
        (README, TABLE.with_name("table3.csv"), "| ST-CLIP"),
        *(
            (ROOT / "docs" / "tables.md", TABLE.with_name(f"{name}.csv"), "| ST-CLIP")
            for name in ("table1", "table1_kinds", "table16", "table17", "table18")
        ),
        (ROOT / "docs" / "detectors.md", TABLE.with_name("detectors.csv"), "| tiny_finetuned"),
        *(
            (ROOT / "docs" / "ablations.md", TABLE.with_name(f"{name}.csv"), "| split 1")
            for name in ABLATIONS
        ),
        (ROOT / "docs" / "speed.md", TABLE.with_name("table10.csv"), "| Vita-CLIP"),
        (ROOT / "docs" / "speed.md", TABLE.with_name("table12.csv"), "| person-context"),
        (ROOT / "docs" / "speed.md", TABLE.with_name("table13.csv"), "| ST-CLIP"),
        (ROOT / "docs" / "speed.md", ROOT / "docs/results/paper/table12_paper.csv", "| 583.04"),
        (ROOT / "docs" / "scaling.md", ROOT / "docs/results/paper/plan.csv", "| detectors"),
        (ROOT / "docs" / "scaling.md", ROOT / "docs/results/paper/scale_study.csv", "| 100"),
        (ROOT / "docs" / "scaling.md", SPEED / "planning.csv", "| paper"),
        *(
            (
                ROOT / "docs" / "deviations.md",
                ROOT / f"docs/results/mini_{n}/table3_{n}.csv",
                "| CLIP",
            )
            for n in ("words", "unannotated")
        ),
        (ROOT / "docs" / "faults.md", TABLE.with_name("faults.csv"), "| full disk"),
        *(
            (ROOT / "docs" / "mini.md", ROOT / f"docs/results/mini_choice/{name}.csv", "| CLIP")
            for name in (
                "settings",
                "settings_video",
                "settings_person",
                "settings_ucf",
                "settings_ava",
            )
        ),
        *(
            (ROOT / "docs" / "speed.md", SPEED / f"{name}.csv", "| scoring")
            for name in ("st_clip_cpu", "st_clip_cpu_compiled", "st_clip_ava_cpu", "iclip_cpu")
        ),
        (ROOT / "docs" / "speed.md", SPEED / "official_st_clip_cpu.csv", "| official"),
        (ROOT / "docs" / "speed.md", SPEED / "compiled_blocks_cpu.csv", "| 8 x 197"),
        (ROOT / "docs" / "speed.md", SPEED / "loader.csv", "| jpeg"),
        (ROOT / "docs" / "predict.md", SPEED / "predict_cpu.csv", "| detect"),
        (ROOT / "docs" / "protocol.md", SPEED / "bytetrack.csv", "| two_scores"),
    ],
)
def test_the_table_is_the_one_that_was_written(tmp_path, document, table, row) -> None:  # type: ignore[no-untyped-def]
    copy = tmp_path / "copy.md"
    copy.write_text(document.read_text())
    put_into(copy, read_table(table), marker=table.stem)
    assert copy.read_text() == document.read_text()
    assert row in document.read_text()


def test_a_document_without_markers_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    document = tmp_path / "a.md"
    document.write_text("<!-- table2:begin -->\nnothing ends here")
    with pytest.raises(DataError, match=r"a\.md: no <!-- table2:begin --> \.\.\. <!-- table2:end"):
        put_into(document, read_table(TABLE), marker="table2")


def test_linked_files_exist() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document}: {link}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for names in re.findall(r"^make ([a-z0-9]+)|`make ([a-z0-9]+)", README.read_text(), re.M):
        target = "".join(names)
        assert f"\n{target}:" in makefile or target in TABLES, target
