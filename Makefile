# `make demo` runs the main job, `make test` the tests; both install what they need into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SHARED := ../shared/conformance/run.py
# One of them is a test of text that is no program.
HYB_FILES := $(shell find hybridc tests examples bench -name '*.hyb' ! -name errors_syntax.hyb)

# Else each of the many processes of the tests would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test pytest fuzz bench lint format conformance bless clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e ".[dev,torch,gpu,numba]"
	$(BIN)/python -m hybridc.std
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/digits/demo.py

lint: $(VENV)/.installed
	$(BIN)/ruff check hybridc runtime tests bench examples
	$(BIN)/mypy hybridc runtime
	$(BIN)/lint-imports
	$(BIN)/hybridc fmt --check $(HYB_FILES)

format: $(VENV)/.installed
	$(BIN)/ruff check -q --select I --fix hybridc runtime tests bench examples
	$(BIN)/hybridc fmt $(HYB_FILES)

conformance: $(VENV)/.installed
	if [ -e $(SHARED) ]; then $(BIN)/python $(SHARED) --jobs 2; fi

# mypy keeps one core busy for a while, which the tests then have to themselves.
test: $(VENV)/.installed
	$(MAKE) -j 2 lint pytest
	$(MAKE) conformance

# Work is taken over from the other process at the end only, so what a module's tests share is mostly made once.
pytest: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# Random programs and hostile text for FUZZ_SECONDS each, with the seeds of CI; other seeds: python -m tests.fuzz --help
FUZZ_SECONDS ?= 300
fuzz: $(VENV)/.installed
	HYB_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -q tests/fuzz tests/found

bench: $(VENV)/.installed
	$(BIN)/python -m pytest -q bench --benchmark-columns=min,median,iqr

# Rewrites the expected messages of tests/ from what the compiler prints now; read the diff before you commit it.
bless: $(VENV)/.installed
	HYB_BLESS=1 $(BIN)/python -m pytest -q tests

clean:
	rm -rf $(VENV) build dist *.egg-info
