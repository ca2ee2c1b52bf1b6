# python3 and make are all that these need. `make help` says what there is.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
PHOTOS ?=
# With PHOTOS="DIR …" the demo runs on them; else it draws its own.
DATA := $(if $(PHOTOS),$(PHOTOS),$(DEMO)/bins)
# So few bins want a larger calibrate side, else no record may pass without a look.
SIDES := $(if $(PHOTOS),,--set split.train=0.6 --set split.calibrate=0.2)
FLAGS := $(foreach dir,$(DATA),--data $(dir))
# Which build of torch fits depends on the machine, so it has no hash, and what it needs comes with it.
TORCH ?= 2.13.0
# Folders with packages that pip's configuration names, if any: the steps of image-check run where these are not seen.
SEE ?=
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: help install install-dev install-train demo demo-site report test test-train soak image-check check bench docs lock clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

install: .venv/installed ## Install into .venv, from pinned and hashed packages

install-dev: .venv/installed-dev ## Install what tests and checks need, too

install-train: .venv/installed-train ## Install what fine-tuning and export need, too: torch, timm, onnx

.venv/installed: requirements/base.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or later is needed. Try: make PYTHON=python3.12 install.")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements/base.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# timm wants torchvision only to be imported: where none fits, a stand-in for the tests takes its place.
.venv/installed-train: .venv/installed requirements/train.txt
	$(PIP) torch==$(TORCH)
	$(PIP) --no-deps --require-hashes -r requirements/train.txt
	$(BIN)/python -c 'import torchvision' 2>/dev/null || $(PIP) --no-deps --no-build-isolation tests/torchvision_stub
	$(BIN)/python -m pip check
	@touch $@

demo: install ## Draw bins, learn to count them, judge it, count six (or PHOTOS="DIR …")
	@$(if $(PHOTOS),true,$(BIN)/binventory draw --out $(DEMO)/bins --bins 1500)
	$(BIN)/binventory train $(FLAGS) --recipe quick --from open $(SIDES) --work $(DEMO)/work --out $(DEMO)/bundle
	$(BIN)/binventory evaluate --bundle $(DEMO)/bundle $(FLAGS) --work $(DEMO)/work --split test --out $(DEMO)/evaluation.html
	@$(BIN)/binventory sql --work $(DEMO)/work --csv "select address from photos join sides using (id) where side = 'test' and count is not null order by hash(id) limit 6" | tail -n +2 > $(DEMO)/six.txt
	@tr '\n' '\0' < $(DEMO)/six.txt | xargs -0 $(BIN)/binventory count --bundle $(DEMO)/bundle --pictures $(DEMO)/pictures
	@$(if $(PHOTOS),true,$(MAKE) --no-print-directory demo-site)
	@echo; echo "figures and photos: $(DEMO)/evaluation.html"; echo "the six, drawn:     $(DEMO)/pictures/sheet-001.png"; echo "the bundle:         $(DEMO)/bundle"
	@$(if $(PHOTOS),true,echo "the book:           $(SITE)/book.db")

# A verb whose answer is no ends with 1: records that a person must look at are what the demo is to show.
NO := || test $$? = 1
SITE := $(DEMO)/site
BOOK := $(BIN)/binventory
ON := --book $(SITE)/book.db
demo-site: install
	@echo; $(BOOK) draw --out $(SITE)/bins --bins 200 --seed 2 > /dev/null
	@$(BIN)/python ship/demo.py $(SITE)
	$(BOOK) expect $(ON) $(SITE)/records.csv
	$(BOOK) watch $(ON) --once --bundle $(DEMO)/bundle --json $(SITE)/camera >> $(SITE)/verdicts.jsonl
	@$(BIN)/python ship/demo.py $(SITE)
	$(BOOK) consign $(ON) $(SITE)/OUT-1001.csv $(NO)
	$(BOOK) consign $(ON) $(SITE)/OUT-1002.csv $(NO)
	$(BOOK) review $(ON) --most 5 < /dev/null
	$(BOOK) plan $(ON) --bins 12
	$(BOOK) stock $(ON) --accuracy

# With PHOTOS: of the bundle abid, on what it has not seen; the first folder judges counts 1 to 5, all of them all counts.
# Curves of trainings and the stored sides come from WORK, which is where ship/abid.py leaves them.
WORK ?= $(if $(PHOTOS),build/abid,$(DEMO)/work)
REPORT := $(if $(PHOTOS),docs/report.pdf,$(DEMO)/report.pdf)
LICENCE ?=
report: install-dev $(if $(PHOTOS),,demo) ## Write docs/report.pdf of abid on PHOTOS="DIR …" (LICENCE="theirs"), or one of the demo
	@mkdir -p build/report
	$(if $(PHOTOS),$(BIN)/binventory evaluate --bundle abid --data $(firstword $(PHOTOS)) --counts 1-5 --balanced --json > build/report/few.json)
	$(BIN)/binventory evaluate --bundle $(if $(PHOTOS),abid,$(DEMO)/bundle --split test) $(FLAGS) --work $(WORK) --json > build/report/all.json
	$(BIN)/binventory report --bundle $(if $(PHOTOS),abid,$(DEMO)/bundle) $(FLAGS) --work $(WORK) $(if $(PHOTOS),--evaluation build/report/few.json) --evaluation build/report/all.json --licence "$(LICENCE)" --out $(REPORT)

test: install-dev ## Run the tests on two processes, those of training aside
	$(BIN)/python -m pytest -m "not train" -n 2 --dist worksteal

test-train: install-dev install-train ## Run the tests of training; one that is left out fails
	BINVENTORY_TRAIN=required $(BIN)/python -m pytest -m train

soak: install-dev ## Read 50,000 hostile files, kill the book's writers 1,000 times and watch 100 times; then image-check
	BINVENTORY_SOAK=50000 $(BIN)/python -m pytest -s tests/test_photo_hostile.py tests/book/test_killed.py
	BINVENTORY_KILLS=100 $(BIN)/python -m pytest -s tests/book/test_watch.py -k killed
	$(MAKE) image-check

image-check: install-dev ## Run the Dockerfile's steps in a bare Debian root and count a photo there (root, debootstrap)
	$(BIN)/python tests/image.py $(addprefix --see ,$(SEE))

check: install-dev ## Lint, types, and what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# benchmarks/tamper.py judges verdicts on real photos alone, and wants to be told where they are.
bench: install-dev install-train ## Measure speed, as ratios in one run
	@for script in $(filter-out benchmarks/tamper.py, $(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: install-dev ## Write the command reference from the commands themselves
	$(BIN)/python docs/reference.py

LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --excludes - --generate-hashes --no-emit-index-url --no-header --no-annotate

lock: install-dev ## Compile requirements/*.txt anew from *.in, and what a training job installs
	for name in base dev train; do printf 'torch\ntorchvision\n' | $(LOCK) requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	printf 'torch\ntorchvision\n' | $(LOCK) requirements/sagemaker.in -o src/binventory/cloud/requirements.txt

clean: ## Remove what make has made, the environment aside
	rm -rf $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
