# weft: run `make help` for what can be done here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-hostile fuzz test-programs fresh unit check format golden program-sizes features coverage mutation bench bench-quick bench-scale lock clean \
	cluster-up cluster-down cluster-test cluster-install conformance conformance-strict conformance-no-mesh conformance-same-namespace \
	kind-up kind-test kind-down vm-deps vm-test vm-test-ci

BIN := .venv/bin
SHELL_SCRIPTS := .ci/run .ci/setup .ci/install-lock .ci/fresh .ci/validate-vagrantfile daemonset/kubectl-weft \
	vm-tests/provision.sh vm-tests/guest/init vm-tests/guest/start
C_FILES := $(wildcard bpf/*.c bpf/*.h bpf/*/*.h)
CLANG := clang --target=bpf -Wall -Werror -fsyntax-only -I/usr/include/$(shell uname -m)-linux-gnu -include bpf/libbpf/maps.h

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

setup: ## install what weft needs: Debian packages (PACKAGES: more of them), and .venv from requirements.lock
	@.ci/setup $(PACKAGES)

demo: setup ## show the faces story: no mesh, L4, L7, and back (root)
	@$(BIN)/python examples/faces/demo.py

# Most tests wait more than they compute. A file's tests stay together, since they share a lab.
PYTEST_PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup ## all tests (root; its last lines say what was skipped, why, and what brings it)
	$(BIN)/pytest $(PYTEST_PARALLEL) $(PYTEST_OPTIONS)

test-hostile: setup ## what hostile tenants create, with a victim under load (root; two minutes)
	$(BIN)/pytest $(PYTEST_OPTIONS) tests/hostile

# SEED: libFuzzer's; 0 is another one each time.
SECONDS := 60
SEED := 0
INPUT :=
fuzz: setup ## mutated objects through decoding, translation and rendering, for SECONDS; INPUT=FILE runs a crash again
	@$(BIN)/python tests/fuzz/fuzz.py $(if $(INPUT),--input $(INPUT),--seconds $(SECONDS) --seed $(SEED))

test-programs: setup ## build what tests need beyond set-up: kube-apiserver, kubectl, Helm (the first time 10 minutes)
	@$(BIN)/python tests/cluster/prepare.py tests

fresh: ## README's commands on a Debian 12 with nothing but git, make and Python, in namespaces of its own (root)
	@.ci/fresh

unit: setup ## the tests that need no root
	$(BIN)/pytest tests/unit tests/golden tests/property

check: setup ## ruff, mypy, import-linter, old words, lengths of files and functions, clang, clang-format, shellcheck, reuse, vagrant validate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/words/check.py
	$(BIN)/python tests/words/lengths.py
	! grep -rnE '^\s*(from|import) test_' tests  # what tests share is in tests/support
	clang-format --dry-run --Werror $(C_FILES)
	$(CLANG) bpf/weft.c
	$(CLANG) -DWEFT_WITHOUT_SET_RETVAL -DWEFT_SK_ERR=1 -DWEFT_SK_FLAGS=1 bpf/weft.c
	shellcheck $(SHELL_SCRIPTS)
	$(BIN)/reuse lint --quiet || $(BIN)/reuse lint
	@.ci/validate-vagrantfile

format: setup ## let the formatters have their way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format -i $(C_FILES)

test-long: setup ## the random tests, and those of the waypoint's life, at their full length (root; 20 minutes)
	WEFT_TEST_SCALE=1 $(BIN)/pytest -s tests/datapath/test_storm.py tests/datapath/test_differential.py \
		tests/property/test_hostile_mutations.py
	WEFT_TEST_SCALE=1 $(BIN)/pytest -s tests/node/test_waypoint_precedence.py tests/node/test_life.py \
		tests/node/test_replace_waypoint.py tests/node/test_waypoint_streams.py \
		tests/node/test_first_instruction.py tests/node/test_waypoint_mutated.py

cluster-up: setup ## a real Kubernetes of two nodes on this machine (root; the first time builds it: 15 minutes)
	@$(BIN)/python tests/cluster/cluster.py up

cluster-down: setup ## remove it, with all that it left
	@$(BIN)/python tests/cluster/cluster.py down

cluster-test: setup ## the tests of it (root)
	$(BIN)/pytest -m cluster tests/cluster

cluster-install: setup ## build weft's images and install weft on it (root; the first time 3 minutes, then 1)
	@$(BIN)/python tests/cluster/install.py

# The cluster's provider is kind: its nodes are containers of Docker. Vagrant's user is not root, but may become it.
kind-up kind-test kind-down: export WEFT_CLUSTER_PROVIDER := kind
ifeq ($(shell id -u),0)
kind-up: setup ## a cluster of kind with weft on it (root, or sudo; Docker; CI has no registry and does not run it)
	@$(BIN)/python tests/cluster/cluster.py up
	@$(BIN)/python tests/cluster/install.py

kind-test: setup ## cluster-test and conformance-strict on clusters of kind (the same)
	@$(BIN)/python tests/cluster/cluster.py check
	$(BIN)/pytest -m cluster tests/cluster
	@$(MAKE) --no-print-directory conformance-strict VERSIONS=1.7 CHANNELS=experimental

kind-down: setup ## remove the cluster of kind (the same)
	@$(BIN)/python tests/cluster/cluster.py down
else
kind-up kind-test kind-down:
	@command -v sudo >/dev/null || { echo "$@: must run as root: there is no sudo" >&2; exit 1; }
	@exec sudo $(MAKE) --no-print-directory $@
endif

# The versions and channels of the Gateway API that the suite is run with, each on a cluster of its own.
VERSIONS := 1.7 1.6
CHANNELS := standard experimental
SUITE := $(BIN)/python tests/conformance/conformance.py --namespace-labels weft.dev/mode=l7
# $(call each-cluster,COMMAND,LAST): COMMAND on every cluster, with $$version and $$channel; LAST once for each version.
each-cluster = for version in $(VERSIONS); do for channel in $(CHANNELS); do \
		$(BIN)/python tests/cluster/cluster.py up --gateway-api $$version --channel $$channel && \
		$(BIN)/python tests/cluster/install.py && $(1) || exit; done; $(2) done

conformance: setup ## the official Gateway API suite, unmodified; writes the reports (root; 4 clusters, 3 minutes each)
	@$(call each-cluster,$(SUITE) --gateway-api $$version --report $$channel,\
		$(SUITE) --gateway-api $$version --name inferred --inferred || exit;)

conformance-strict: setup ## the suite with 20 answers in a row instead of 3 (root; 4 clusters, 4 minutes each)
	@$(call each-cluster,$(SUITE) --gateway-api $$version --name strict-$$channel --strict)

conformance-no-mesh: cluster-up ## what passes the core tests without a mesh: strict, only MeshBasic (root; 4 minutes)
	@$(BIN)/python tests/conformance/conformance.py --name no-mesh --core-only --strict --expect MeshBasic

# Without its policy, a server refuses the consumers of the other namespace.
conformance-same-namespace: setup ## the strict suite in a mesh whose pods admit their own namespace (root; 8 minutes)
	@$(BIN)/python tests/cluster/cluster.py up
	@$(BIN)/python tests/cluster/install.py
	@$(SUITE) --name same-namespace --strict --apply tests/conformance/same_namespace.yaml \
		--expect-failed MeshConsumerRoute
	@$(SUITE) --name admitted-consumers --strict --apply tests/conformance/same_namespace.yaml \
		--apply tests/conformance/admitted_consumers.yaml
	@$(BIN)/python tests/cluster/cluster.py down

# Names in vm-tests/kernels.toml and jobs.toml; ONLY: pytest's -k; AT_ONCE: machines at a time.
KERNEL :=
JOB :=
ONLY :=
AT_ONCE := 2
vm-deps: setup ## Debian packages for virtual machines: QEMU, and what makes their file systems
	@$(BIN)/python vm-tests/run.py --install-only

vm-test: setup ## tests on other kernels, in virtual machines: KERNEL=6.1 JOB=features (root; the first time makes the machines)
	@$(BIN)/python vm-tests/run.py --kernel $(KERNEL) --job $(JOB) --only '$(ONLY)' --at-once $(AT_ONCE)

vm-test-ci: setup ## what CI runs of them: features, a third of the datapath's tests, and the tests of the runner
	@$(BIN)/python vm-tests/run.py --job features datapath-third
	$(BIN)/pytest -m vm --numprocesses 2 --dist loadfile vm-tests/tests

golden: setup ## rewrite the golden files from what the code does now; then read the diff
	WEFT_GOLDEN=rewrite $(BIN)/pytest -q tests/golden

program-sizes: setup ## record the BPF programs' counts of instructions, for this compiler and kernel (root)
	@$(BIN)/python tests/datapath/program_sizes.py --record

features: setup ## rewrite docs/features.md from what the tests say that they show
	@$(BIN)/python tests/features/features.py

coverage: setup ## line coverage of the core; fails below 95 %
	$(BIN)/pytest -q tests/unit tests/golden tests/property --cov=agent.model --cov=agent.translate --cov=agent.ir \
		--cov=agent.datapath --cov-report=term-missing:skip-covered --cov-fail-under=95

mutation: setup ## do the tests notice changes to translate/? (minutes)
	$(BIN)/mutmut run
	$(BIN)/mutmut results

bench-quick: setup ## the datapath and the waypoint beside what they are compared with, and the report (root; 5 minutes)
	@$(BIN)/python -m bench quick

bench: setup ## the same with more rounds, and the agent's own numbers (root; 30 minutes, once 10 more to build kube-proxy)
	@$(BIN)/python tests/cluster/prepare.py bench
	@$(BIN)/python -m bench full
	@$(BIN)/python -m bench.figures
	@$(BIN)/python -m bench.loop
	@$(BIN)/python -m bench.dropped_probe

bench-scale: setup ## the agent as the cluster grows to 10 000 Services of 10 endpoints (root; 15 minutes)
	@$(BIN)/python -m bench.scale

lock: setup ## resolve pyproject.toml anew into requirements.lock, and what of it the image takes and is built with
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --group dev pyproject.toml \
		--output-file requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --constraint requirements.lock \
		pyproject.toml --output-file daemonset/requirements.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --constraint requirements.lock \
		- --output-file daemonset/build.lock

clean: ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis mutants
