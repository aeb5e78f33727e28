# The two commands: `make run` and `make test`. Both set up what they need first.
PYTHON ?= python3
UV := uv==0.13.9
BIN := .venv/bin
IMAGE ?= actor-mesh:0.1.0
OVERLAY ?= production
# The benchmark has what it compares with in an environment of its own.
BENCH := .venv-bench
FAUST ?= ../faust
FAUST_PYTHON ?= $(FAUST)/.venv/bin/python

.PHONY: run scenarios test check format bench conformance lock clean help
.PHONY: image compose-up compose-down k3d-up k3d-down deploy

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: .venv/ready ## Start the whole system on this machine
	@$(BIN)/python app.py run

scenarios: .venv/ready ## Play the five demo customers
	@$(BIN)/python app.py scenarios

test: .venv/ready ## Run all tests
	$(BIN)/python -m pytest $(ARGS)

check: .venv/ready ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH)/ready ## Measure bridge and mesh; ARGS=--quick, --help
	$(BENCH)/bin/python -m tests.bench $(ARGS)

conformance: .venv/ready ## Run Faust's own tests on the bridge, from a checkout: FAUST=../faust
	@$(BIN)/python -m tests.conformance --faust $(FAUST) --python $(FAUST_PYTHON)

lock: .venv/ready ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
		--no-emit-index-url --upgrade --extra embedded --extra dev \
		pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
		--no-emit-index-url --upgrade --extra embedded --extra bench \
		--constraint requirements.lock pyproject.toml -o tests/bench/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
		--no-emit-index-url --upgrade --extra image --constraint requirements.lock \
		pyproject.toml -o k8s/requirements.lock

image: ## Build the container image
	@k8s/need.sh docker
	docker build --tag $(IMAGE) .

compose-up: ## Run the whole system in containers on this machine
	@k8s/need.sh docker docker-compose
	docker compose --file k8s/compose.yaml up --build --detach --wait
	@echo "The mesh is up: http://127.0.0.1:6066/"

compose-down: ## Stop them; their volumes stay
	@k8s/need.sh docker docker-compose
	docker compose --file k8s/compose.yaml down

k3d-up: ## Make a small cluster in containers (k3d) and run the overlay `local` on it
	@IMAGE="$(IMAGE)" k8s/k3d-up.sh

k3d-down: ## Remove that cluster with all its data
	@k8s/need.sh k3d docker
	k3d cluster delete actor-mesh

deploy: ## Apply an overlay to a cluster: CONTEXT=…, OVERLAY=production
	@k8s/deploy.sh "$(CONTEXT)" "$(OVERLAY)"

clean: ## Remove the environments and the data of `make run`
	rm -rf .venv $(BENCH) .mesh

# The environment: made once, and again when the lock or the project's metadata change.
.venv/ready: requirements.lock pyproject.toml
	@test -x $(BIN)/pip || { echo "Making the virtual environment …"; $(make_venv); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=…"; rm -rf .venv; exit 1; }
	@echo "Installing the locked dependencies …"
	@$(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --require-hashes -r requirements.lock
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(BENCH)/ready: .venv/ready tests/bench/requirements.lock
	@echo "Making the benchmark's environment …"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BENCH)
	@VIRTUAL_ENV=$(BENCH) $(BIN)/uv pip install --quiet --require-hashes -r tests/bench/requirements.lock
	@VIRTUAL_ENV=$(BENCH) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Debian keeps the venv module's pip in a package of its own.
define make_venv
$(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
	rm -rf .venv; \
	echo "Python cannot make virtual environments here; installing Debian's python3-venv …"; \
	SUDO=$$(test $$(id -u) = 0 || echo sudo); \
	$$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq python3-venv && \
	$(PYTHON) -m venv .venv; \
} || { echo "That did not work. Install python3-venv, or Python with pip, and try again."; exit 1; }
endef
