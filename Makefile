# The two commands of the README are `make demo` and `make test`; `make check` is the fast inner loop.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= demo
PORT ?= 8765
# Tests run in so many processes, each of which takes whole files: what a file shares is made once.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --max-worker-restart 0 --dist loadfile --no-loadscope-reorder
# Where Python keeps no bytecode, each of the hundreds of processes of a run would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Every file that is installed is one whose hash was written down; pip takes no hash of a folder, so the project follows.
LOCKED := $(PIP_INSTALL) --require-hashes --requirement
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: demo test check lint format bench house lock sbom manifests clean

demo: $(VENV)/.demo
	$(BIN)/drift-monitor demo --dir $(DEMO_DIR) --web.listen-address 127.0.0.1:$(PORT)

test: $(VENV)/.dev
	$(PYTEST)

check: lint
	$(PYTEST) -q -x -m "not processes and not slow and not postgresql" --hypothesis-profile=quick

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

house: $(VENV)/.dev ## how many files, functions, twins; `python -m benchmarks.house OLD .` compares checkouts
	$(BIN)/python -m benchmarks.house

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml requirements.lock | $(BIN)/python
	$(LOCKED) requirements.lock
	$(PIP_INSTALL) --no-deps --editable .
	touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	$(LOCKED) requirements-dev.lock
	$(PIP_INSTALL) --no-deps --editable .
	touch $@

# Versions that are locked stay, unless pyproject.toml asks for others; `make lock UPGRADE=--upgrade` takes the newest.
lock: $(VENV)/.dev ## resolve what is new in pyproject.toml; write the hashes of all files for all platforms
	$(COMPILE) $(UPGRADE) --extra postgresql pyproject.toml --output-file requirements.lock
	$(COMPILE) $(UPGRADE) --constraint requirements.lock --extra postgresql --extra parquet --extra apprise \
	  --group test --group lint --group dashboards pyproject.toml --output-file requirements-dev.lock

sbom: $(VENV)/.dev ## what the image is made of, as CycloneDX
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file sbom.json

manifests: ## the rules of Prometheus once more, as objects of Kubernetes
	for name in drift-alerts drift-recording; do \
	  { printf '# Written by `make manifests`.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'; \
	    printf 'metadata:\n  name: %s\n  labels:\n    app.kubernetes.io/name: drift-monitor\nspec:\n' $$name; \
	    sed 's/^\(.\)/  \1/' config/prometheus/rules/$$name.yml; \
	  } > config/kubernetes/components/prometheus-rules/$$name.yaml; done

clean:
	rm -rf $(VENV) build dist demo
