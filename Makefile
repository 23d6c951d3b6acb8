# Two commands do everything: `make TABLE`, as `make table2` (set up, run the main job, show that table of
# config/tables), and `make test` (set up, run all tests).

PYTHON ?= python3
CORES ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || sysctl -n hw.ncpu)
UV_VERSION := 0.13.9
BIN := .venv/bin
# Programs that tests start: a browser that opens the report, a cluster of one node, an unpacker of .rar.
DEBIAN := chromium munge slurm-client slurmctld slurmd unar
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Snakemake and uv keep things below HOME and stop without one to write to: then they do so here.
export XDG_CACHE_HOME := $(shell cache="$${XDG_CACHE_HOME:-$${HOME:-/nowhere}/.cache}"; \
	{ mkdir -p "$$cache" && [ -w "$$cache" ]; } 2>/dev/null || cache="$$PWD/.cache"; echo "$$cache")

TABLES := $(basename $(notdir $(sort $(wildcard config/tables/*.yaml))))
.PHONY: setup debian unlock rehearsal ablations choice switches faults test lint lock plan readme scale_study $(TABLES)

setup: .venv/.installed

# uv lives inside the environment; the second call finds the stamp and does nothing.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; assert (3, 11) <= v < (3, 14), \
		f"Python 3.11-3.13 is needed, this is {v.major}.{v.minor}; name one with make PYTHON=python3.12 ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"
	VIRTUAL_ENV="$$PWD/.venv" $(BIN)/uv pip sync --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV="$$PWD/.venv" $(BIN)/uv pip install --no-deps --no-build-isolation --editable .
	touch $@

# Snakemake's lock outlives a kill -9; it goes if the run that left it is known to be dead.
unlock:
	@[ -z "$$(ls .snakemake/locks 2>/dev/null)" ] || stclip unlock

# Main tables of that table's data set and what there is to look at, then the table that was asked for.
# Jobs are forks of one process that has imported PyTorch: many are shorter than the import.
$(TABLES): dataset = $(shell sed -n 's/^dataset: *\([^ ]*\).*/\1/p' config/tables/$@.yaml)
$(TABLES): setup unlock
	stclip preloaded snakemake --cores $(CORES) all results/$@.csv $(if $(dataset),--config 'datasets=[$(dataset)]')
	@stclip show results/$@.csv

# Scale paper on drawn clips and random weights, then what the real run needs by what that took:
# make rehearsal TABLE=table3
TABLE ?= table2
rehearsal: dataset = $(shell sed -n 's/^dataset: *\([^ ]*\).*/\1/p' config/tables/$(TABLE).yaml)
rehearsal: setup unlock
	stclip preloaded snakemake --cores $(CORES) results/$(TABLE).csv --config scale=rehearsal 'datasets=[$(dataset)]'
	stclip plan results/$(TABLE).csv --scale paper --measured rehearsal \
		--out results/rehearsal/plan_$(TABLE).csv --stages results/rehearsal/stages_$(TABLE).csv
	@stclip show results/rehearsal/stages_$(TABLE).csv

ablations: setup unlock
	snakemake --cores $(CORES) ablations

# Mini's settings of training, compared on other videos than mini's.
SETTINGS := $(filter settings%,$(TABLES))
choice: setup unlock
	snakemake --cores $(CORES) $(SETTINGS:%=results/%.csv) --config scale=mini_choice
	mkdir -p docs/results/mini_choice
	set -e; for table in $(SETTINGS); do \
		cp results/mini_choice/$$table.csv docs/results/mini_choice/$$table.csv; \
		stclip show docs/results/mini_choice/$$table.csv --into docs/mini.md; \
	done

# What two choices on ZS-UCF move, by the baseline that trains nothing: names parted into words, and
# frames without annotation tested too.
switches: setup unlock
	set -e; for scale in mini_words mini_unannotated; do \
		stclip preloaded snakemake --cores $(CORES) results/$$scale/table3.csv \
			--config scale=$$scale 'datasets=[ucf101_24]' 'methods=[clip_frame]'; \
		mkdir -p docs/results/$$scale; \
		cp results/$$scale/table3.csv docs/results/$$scale/table3_$${scale#mini_}.csv; \
		stclip show docs/results/$$scale/table3_$${scale#mini_}.csv --into docs/deviations.md; \
	done

# Breaks the main job on purpose, in a copy, and sees whether it ends in the same table; over an hour on two cores.
faults: setup
	PYTHONPATH=tests python -m faults --out docs/results/mini/faults.csv
	stclip show docs/results/mini/faults.csv --into docs/faults.md

# A file of tests at a time and worker, those that take longest first (tests/conftest.py); each in one
# thread, and a worker more than cores, as tests of clusters and servers wait for the most part.
test: setup debian
	OMP_NUM_THREADS=1 pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

# Installs them where it may; elsewhere it says what is missing.
debian:
	@dpkg --status $(DEBIAN) >/dev/null 2>&1 || { \
		run=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		command -v apt-get >/dev/null || { echo "The tests start $(DEBIAN) (Debian's names): install them."; exit 1; }; \
		$$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -qq -y --no-install-recommends $(DEBIAN) >/dev/null; \
	}

lint: setup
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow

# The tables that documents show between markers are those that were last written.
DOCUMENTS := README.md docs/detectors.md docs/speed.md docs/ablations.md docs/tables.md
readme:
	stclip keys --into config/README.md
	mkdir -p docs/results/mini
	set -e; for table in $(filter-out settings%,$(TABLES)); do \
		cp results/mini/$$table.csv docs/results/mini/$$table.csv; \
		stclip show docs/results/mini/$$table.csv --into $$(grep -l "<!-- $$table:begin -->" $(DOCUMENTS)); \
	done

# What the paper's tables, and the detectors', cost: docs/scaling.md. Minutes: every method is built
# at its true size, though nothing of it is computed.
OWN_TABLES := $(basename $(notdir $(shell grep -l '^of_paper: false' config/tables/*.yaml)))
plan: setup
	stclip plan $(patsubst %,results/%.csv,$(filter-out $(OWN_TABLES),$(TABLES))) ablations --scale paper --out results/paper/plan.csv
	mkdir -p docs/results/paper
	cp results/paper/plan.csv docs/results/paper/plan.csv
	stclip show docs/results/paper/plan.csv --into docs/scaling.md

# What a hundred methods cost, on one machine and on a cluster: docs/scaling.md.
scale_study: setup
	python benchmarks/scale_study.py --out docs/results/paper/scale_study.csv
	stclip show docs/results/paper/scale_study.csv --into docs/scaling.md

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev --extra cluster pyproject.toml --output-file requirements.lock
