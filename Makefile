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
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check lint format bench house lock manifests clean

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

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable .
	touch $@

# Dependency groups need pip 25.1.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(PIP_INSTALL) --editable ".[postgresql,parquet,apprise]" --group test --group lint --group dashboards
	touch $@

lock: ## resolve every dependency anew and write constraints.txt
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-lock/bin/python -m pip install --quiet ".[postgresql,parquet,apprise]" --group test --group lint --group dashboards
	.venv-lock/bin/python -m pip freeze --exclude drift-monitor > constraints.txt
	rm -rf .venv-lock

manifests: ## the rules of Prometheus once more, as objects of Kubernetes
	for name in drift-alerts drift-recording; do \
	  { printf '# Written by `make manifests`.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'; \
	    printf 'metadata:\n  name: %s\n  labels:\n    app.kubernetes.io/name: drift-monitor\nspec:\n' $$name; \
	    sed 's/^\(.\)/  \1/' config/prometheus/rules/$$name.yml; \
	  } > config/kubernetes/components/prometheus-rules/$$name.yaml; done

clean:
	rm -rf $(VENV) build dist demo
