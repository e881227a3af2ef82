# Short names for what ./bootstrap and the tools in its environment do.
.PHONY: demo test env lint format typecheck windows-wheel clean

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

# On Linux, with CMake and MinGW-w64 (on Debian: apt install cmake g++-mingw-w64-x86-64).
MINGW ?= x86_64-w64-mingw32-g++-posix
windows-wheel: env
	_PYTHON_HOST_PLATFORM=win-amd64 .venv/bin/python -m pip wheel \
	    --no-deps --no-build-isolation --wheel-dir dist . \
	    -C cmake.define.CMAKE_SYSTEM_NAME=Windows \
	    -C cmake.define.CMAKE_SYSTEM_PROCESSOR=AMD64 \
	    -C cmake.define.CMAKE_CXX_COMPILER=$(MINGW)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist demo
