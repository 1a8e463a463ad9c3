# SPDX-License-Identifier: Apache-2.0
# The front door: each target sets up what it needs. The build itself is cmake and ninja (CMakePresets.json).
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
SOAK_RUNS ?= 20
NINJA = tools/build -j$(JOBS)
CTEST = tools/run-ctest -j$(JOBS)

.DEFAULT_GOAL := help
.PHONY: help setup run build test bench bench-large lint format asan tsan stress sim fuzz cov soak \
        install clean

help: ## list the targets
	@echo 'make TARGET, where TARGET is one of:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
	    printf '  %-12s %s\n' "$$name" "$$text"; done
	@echo 'Variables: JOBS PREFIX DESTDIR FUZZ_SECONDS SOAK_RUNS VIV_SIM_SEEDS VIV_TEST_SEED'

setup: ## install what is missing (Debian packages, Wasmtime)
	@tools/setup

run: setup ## build, then run the showcase
	@$(NINJA) release viv guests
	@VIV_LOG=error build/release/viv run --module worker=build/release/guests/showcase_worker.wasm build/release/guests/showcase.wasm

build: setup ## build the command: build/release/viv
	@$(NINJA) release viv libviv

test: setup ## build for development and run every test (200 simulated seeds)
	@$(NINJA) dev
	@VIV_SIM_SEEDS=$${VIV_SIM_SEEDS:-200} $(CTEST) dev

bench: setup ## run the benchmarks: build/bench.jsonl and a table
	@$(NINJA) release viv viv-bench guests
	@VIV_TEST_PG_URL=$$(tools/private-postgres start --watch $$$$ build/bench-postgres) \
	    VIV_GUESTS=build/release/guests build/release/viv-bench all | tools/bench-table.py build/bench.jsonl
	@tools/private-postgres stop build/bench-postgres

bench-large: setup ## the benchmarks that need much memory and time: build/bench-large.jsonl
	@$(NINJA) release viv viv-bench guests
	@VIV_GUESTS=build/release/guests build/release/viv-bench large | \
	    tools/bench-table.py build/bench-large.jsonl

lint: setup ## check rules, format, headers; run clang-tidy
	@tools/lint.py -j$(JOBS)

format: setup ## format the C files in place
	@tools/lint.py --format

asan: setup ## all tests under the address, undefined and leak sanitizers
	@$(NINJA) asan
	@VIV_SIM_SEEDS=$${VIV_SIM_SEEDS:-50} $(CTEST) asan

tsan: setup ## all tests under the thread sanitizer
	@$(NINJA) tsan
	@VIV_SIM_SEEDS=$${VIV_SIM_SEEDS:-20} $(CTEST) tsan

stress: setup ## all tests with small limits and rare paths forced
	@$(NINJA) stress
	@VIV_SIM_SEEDS=$${VIV_SIM_SEEDS:-50} $(CTEST) stress

sim: setup ## the simulations with 2000 seeds
	@$(NINJA) sim
	@VIV_SIM_SEEDS=$${VIV_SIM_SEEDS:-2000} $(CTEST) sim -R '^sim\.'

fuzz: setup ## each fuzz target for FUZZ_SECONDS
	@$(NINJA) fuzz
	@tools/fuzz --seconds $(FUZZ_SECONDS) build/fuzz

cov: setup ## coverage of the tests: build/cov/report
	@$(NINJA) cov
	@tools/coverage build/cov

soak: setup ## cases with their full numbers; then all tests SOAK_RUNS times under preset stress
	@$(NINJA) release
	@tools/soak build/release
	@$(NINJA) stress
	@$(CTEST) stress --repeat until-fail:$(SOAK_RUNS)

install: build ## install below PREFIX (and DESTDIR)
	@DESTDIR='$(DESTDIR)' cmake --install build/release --prefix '$(PREFIX)'

clean: ## remove build/ (the cached Wasmtime stays)
	rm -rf build
