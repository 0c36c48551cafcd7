# Everything here needs only make and a Python 3.11 or later: each target makes the virtual
# environment it works in, under .venv/, and makes it anew when pyproject.toml changes.
#
#   ARGS      more arguments for what a target runs:  make test ARGS="-k unix"
#   PYTHONS   the versions to test on:                make test PYTHONS="3.11 3.13"
#   PYTHON    the interpreter of the other targets:   make demo PYTHON=/usr/bin/python3

ARGS =
PYTHONS =
PYTHON = $(or $(shell scripts/pythons --any),false)

.PHONY: help demo test test-xen check bench docs docs-look pictures clean

help: ## this list (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## serve and connect over every transport this host has, and show it
	@$(PYTHON) scripts/make_venv.py demo --extra uvloop --extra testing --extra native
	.venv/demo/bin/conduit demo $(ARGS)

test: ## the whole test suite, on each of Python 3.11, 3.12 and 3.13 that is found
	@PYTHONS="$(PYTHONS)" scripts/test $(ARGS)

test-xen: ## the tests of vchan and vsock, on a real Xen in QEMU (needs Debian's apt-get)
	@$(PYTHON) scripts/make_venv.py test --group test
	.venv/test/bin/python -m pytest -p tests.xen.outside -v \
		--ignore=tests/transports/vchan/test_host.py --ignore=tests/transports/vchan/test_paths.py \
		tests/transports/vchan tests/transports/test_vsock.py \
		tests/transports/test_systemd.py::test_vsock_is_served \
		tests/transports/test_handover.py::test_vsock_is_handed_over $(ARGS)

check: ## ruff, mypy and pyright
	@$(PYTHON) scripts/make_venv.py check --group check
	.venv/check/bin/ruff check
	.venv/check/bin/ruff format --check
	.venv/check/bin/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/check/bin/pyright \
		--project pyproject.toml --pythonpath .venv/check/bin/python

bench: ## the benchmarks, ours and others' in turn (make bench ARGS="--quick" for a short run)
	@$(PYTHON) scripts/make_venv.py bench --group bench
	.venv/bench/bin/python -m benchmarks $(ARGS)

docs: ## the documentation, below build/docs
	@$(PYTHON) scripts/make_venv.py docs --group docs
	.venv/docs/bin/python -m sphinx -q -E -a -W --keep-going -d build/doctrees docs build/docs $(ARGS)

docs-look: docs ## what a browser makes of it (needs chromium): widths, both modes, the search
	.venv/docs/bin/python scripts/look_at_docs.py build/docs build/docs-look

pictures: ## the terminal pictures of the documentation, from real runs
	@$(PYTHON) scripts/make_venv.py docs --group docs
	.venv/docs/bin/python scripts/pictures.py

clean: ## remove the virtual environments and every cache
	rm -rf .cache .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
