# Short names for what ./bootstrap and the tools in its environment do.
.PHONY: demo test env lint format typecheck clean

demo test env:
	@./bootstrap $@

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: env
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

typecheck: env
	.venv/bin/mypy

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist demo
