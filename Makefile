# One command each: `make demo` and `make test` set up first.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export GOMP_SPINCOUNT := 0
export OMP_WAIT_POLICY := PASSIVE

.PHONY: setup demo test check phone clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,usb,ray]'
	touch $@

demo: setup
	$(BIN)/pocketnas run --output runs/demo --resume --budget-ms 0.15 \
	  --task fashion-mnist --space shrinkcnn --set nodes=6 --set base_width=8 --set stem_channels=16 \
	  --method autoshrink --method-set candidates_per_step=3 \
	  --proxy-set train_per_class=100 --proxy-set validation_per_class=100 --epochs 1 \
	  || [ $$? -eq 4 ]  # other load left the budget undecided: the run says so

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=benchmarks:tests/phone $(BIN)/mypy benchmarks/*.py
	$(BIN)/lint-imports --no-cache

test: check
	$(BIN)/python -m pytest

phone: setup
	@$(BIN)/python tests/phone/phone.py

clean:
	rm -rf runs build dist *.egg-info
