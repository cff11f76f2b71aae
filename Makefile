# Two commands matter: `make lab` and `make test`. `make` alone prints what else there is.
# PYTHON=python3.12 chooses the interpreter, OPEN=0 serves JupyterLab without opening a browser.
.DEFAULT_GOAL := help
.PHONY: help install lab test conformance bench reference pins clean
export PYTHON OPEN

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

install: ## make .venv with the package, its extras and the command labsupport
	@tools/install.sh

lab: install ## open the first notebook in JupyterLab (OPEN=0: print its URL, open no browser)
	@tools/lab.sh

test: ## install what the tests need and run everything that CI runs
	@tools/test.sh

conformance: install ## run Kubernetes' own Conformance tests against clusters of ours, for tens of minutes
	@.venv/bin/python tests/conformance/run.py

bench: install ## measure how fast and how big labs are, beside their limits
	@.venv/bin/python -m benchmarks

reference: install ## run the notebooks with the reference answers and write tests/reference/
	@.venv/bin/python -m labsupport.grading.reference

pins: ## choose the newest versions that fit Python 3.11 to 3.14 and write constraints.txt
	@tools/pins.sh

clean: ## remove the environment and everything else that these commands made
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find labsupport tests benchmarks notebooks '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf '{}' +
