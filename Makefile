# make book   the executed book, in _build/html        make test   the tests
# make env    the environment alone, in .venv          make help   everything else

PROFILE ?= laptop
CORES ?= 2
# Of `make grid`: what is asked, and into how many jobs that is shared out.
MODEL ?= smollm2-135m
SHARDS ?= 1
# The address of a package index with CPU builds of torch; empty: the registry's own build.
TORCH_INDEX ?=
# Not empty: the pages go to the branch gh-pages, where Colab then opens their notebooks.
PUBLISHED ?=
export ETHICAL_COMPRESSION_CACHE ?= $(CURDIR)/_build/cache
# Where this folder lies is written down by pip and read by Python in the terminal's encoding, which
# must know the letters of its name.
ifneq ($(shell locale charmap 2>/dev/null),UTF-8)
export LC_ALL := C.UTF-8
endif

# The first interpreter new enough; those that the pins were seen working with come first.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	&& echo $$p && break; done)

PY := .venv/bin/python
PIP := $(PY) -m pip install -q --disable-pip-version-check --progress-bar off
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
REQUIREMENTS := pyproject.toml constraints.txt embedded.txt

.DELETE_ON_ERROR:
PEERS := gptqmodel auto-gptq

.PHONY: help env peers book grid test test-package test-pages check-site pdf serve lint format fork clean

help:
	@echo 'make book [PROFILE=laptop|quick|full|gpu|paper] [CORES=2]   run the chapters, build the pages'
	@echo 'make grid MODEL=smollm2-135m [PROFILE=…] [SHARDS=1]    every method against every harm'
	@echo 'make test        run the tests (in an environment made for it)'
	@echo 'make env         make the environment, .venv, and stop'
	@echo 'make peers       make the environments of other GPTQ libraries, in .peers, to compare with'
	@echo 'make serve       show the built book at http://localhost:8000'
	@echo 'make check-site  look at the built book in a headless browser'
	@echo 'make pdf         print the built book to _build/book.pdf, by a headless browser'
	@echo 'make lint        check code and notebooks        make format   and put them right'
	@echo "make fork        take this fork's address from its git remote, for the launch buttons"
	@echo 'make clean       remove the built pages and executed chapters; the cache of results stays'

env: .venv/.book

.venv/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed and was not found: install it, or name it with make PYTHON=/path/to/python3.' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: name a newer one with make PYTHON=/path/to/python3." >&2; exit 1; }
	@echo "Making the environment in .venv with $(PYTHON) …"
	@test -x $(PY) || "$(PYTHON)" -m venv .venv
	@$(PIP) --no-deps $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

.venv/.book: .venv/.torch $(REQUIREMENTS)
	@echo 'Installing what the book needs …'
	@$(PIP) -c constraints.txt -e '.[book]'
	@$(PIP) --no-deps -r embedded.txt
	@touch $@

.venv/.test: .venv/.book
	@echo 'Installing what the tests need …'
	@$(PIP) -c constraints.txt -e '.[test]'
	@# A CPU build of torch comes without Triton, whose interpreter the kernels' tests run in. It is
	@# made for Linux alone; elsewhere these tests are skipped, with a reason.
	@test "$$(uname -s)" != Linux || $(PIP) -c constraints.txt --no-deps triton
	@touch $@

peers: $(PEERS:%=.peers/%/.done)

.peers/%/.done: environments/%.post-deploy.sh
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed and was not found: name it with make PYTHON=/path/to/python3.' >&2; exit 1; }
	@echo 'Making the environment of $* in .peers/$* …'
	@"$(PYTHON)" -m venv $(@D)
	@$(@D)/bin/python -m pip install -q --disable-pip-version-check --progress-bar off \
		--no-deps $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@PATH="$$PWD/$(@D)/bin:$$PATH" bash $<
	@touch $@

# --rerun-incomplete and --nolock: a build that was killed goes on when it is started again.
SNAKEMAKE = $(PY) -m snakemake --cores $(CORES) --rerun-triggers mtime input --rerun-incomplete \
	--nolock --config profile="$(PROFILE)"

# Quiet about what it plans, not about what went wrong.
book: .venv/.book
	@$(SNAKEMAKE) published="$(PUBLISHED)" --quiet rules host reason
	@echo "The book is at $$PWD/_build/html/index.html"

grid: .venv/.book
	@$(SNAKEMAKE) model="$(MODEL)" shards="$(SHARDS)" --quiet rules progress host reason -- grid
	@echo "The grid is in $$PWD/_build/grid/$(PROFILE)"

# Two programs side by side, each on one core, which take about as long: the pages, and the rest.
PAGES := tests/test_site.py tests/test_reachable.py
test: .venv/.test
	@$(MAKE) --no-print-directory -j2 test-package test-pages

test-package test-pages: export OMP_NUM_THREADS ?= 1
test-package:
	$(PY) -m pytest $(PAGES:%=--ignore %)

test-pages:
	$(PY) -m pytest $(PAGES)

check-site: .venv/.test book
	SITE="$$PWD/_build/html" $(PY) -m pytest $(PAGES)

pdf: .venv/.test book
	@$(PY) book/pdf.py _build/html _build/book.pdf

serve:
	"$(PYTHON)" -m http.server --directory _build/html --bind localhost 8000

lint: .venv/.test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb
	@$(PY) book/build.py set-up --check

format: .venv/.test
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) -m nbstripout --keep-id notebooks/*.ipynb
	@$(PY) book/build.py set-up

fork: .venv/.book
	@$(PY) book/build.py fork

clean:
	rm -rf _build/html _build/html.done _build/executed _build/log .snakemake
