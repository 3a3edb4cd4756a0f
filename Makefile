# The course's commands. Each one first sets up .venv, once; afterwards that is a check of a few hundredths of a second.
#
#   PYTHON=python3.12 make lab       another Python than `python3` (3.11 or newer)
#   make lab ARGS="--port 9000"      further options of JupyterLab
#   make test ARGS="-k birds -x"     further options of pytest
#   make lab TORCH=cpu               torch without CUDA (by itself where there is no NVIDIA card), or TORCH=cuda
#   make test JOBS=4                 tests on four cores rather than two (make grade: submissions)
#   make grade ASSIGNMENT=ex02_gradcam SUBMITTED=folder SEED=7

PYTHON ?= python3
JOBS ?= 2
export TORCH SYSTEM
ARGS ?=
SUBMITTED ?= submitted
PHOTOS ?= course
NETWORK ?= efficientnet_lite0
HOST ?= 127.0.0.1
VENV := .venv/bin
# Linux (glibc): keep freed memory at hand. Networks free and fetch the same megabytes again and again,
# and fetching them from the system, page by page, costs the lectures up to a third of their time.
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 2147483647

# The course's Python finds its packages in .venv, and nowhere else
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help lab lectures slides web report claims check exercises collect grade scheduler worker classroom test test-web test-classroom lint format pictures methods benchmark train-birds train-quality lock setup clean

#: To learn

help:            ## this list
	@echo "Targets of this course (make TARGET):"
	@sed -n -e 's/^#: */|/p' -e 's/^\([a-z-]*\): *\([a-z-]* *\)## *\(.*\)/\1|\3/p' Makefile | while IFS='|' read -r name text; do if test -n "$$name"; then printf '  %-14s %s\n' "$$name" "$$text"; else printf '\n%s\n' "$$text"; fi; done
	@echo
	@echo "With options:"
	@sed -n 's/^#   /    /p' Makefile

lab: setup       ## open the lectures in JupyterLab (prints the address where there is no browser)
	@$(VENV)/python tools/lab.py $(ARGS)

lectures:        ## run every lecture; pages, slides and a gallery in _site/, usable without internet
	@$(PYTHON) tools/set_up.py slides
	@test -f _site/ask/photo.js || $(VENV)/python tools/build_ask.py
	@$(VENV)/python tools/build_site.py $(ARGS)

slides: lectures ## the same: the slides are in _site/slides/

web:             ## the page that answers in the browser, with the network in it, in _site/ask/ (needs npm)
	@$(PYTHON) tools/set_up.py web
	@$(VENV)/python tools/build_ask.py --web $(ARGS)

report: setup    ## one page of answers on a folder of photos: make report PHOTOS=folder NETWORK=module:function
	@echo 'Loading torch and the network (some seconds).'
	@$(VENV)/python -m course_utils.report "$(PHOTOS)" --network "$(NETWORK)" $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(PART),--part $(PART)) $(ARGS)

claims: setup    ## lecture 4's claims on photos of yours: make claims PHOTOS=folder NETWORK=efficientnet_lite2
	@echo 'Loading torch and the networks (some seconds).'
	@$(VENV)/python tools/measure_claims.py $(PHOTOS) --network $(NETWORK) $(ARGS)

check: setup     ## check this machine: versions, weights, a forward pass, a widget
	@echo 'Looking at this machine (some seconds).'
	@$(VENV)/python -m course_utils.environment

#: To teach

exercises:       ## generate exercises/ from solutions/ with nbgrader (for instructors)
	@$(PYTHON) tools/set_up.py grading
	@$(VENV)/python tools/make_exercises.py $(ARGS)

collect: setup   ## put an LMS's export where hand-ins lie: make collect ASSIGNMENT=... FROM=export.zip
	@test -n "$(ASSIGNMENT)" || { echo "Which assignment? make collect ASSIGNMENT=ex02_gradcam FROM=export.zip"; exit 2; }
	@test -n "$(FROM)" || { echo "From where? FROM=export.zip, FROM=folder, or FROM=hub"; exit 2; }
	@$(VENV)/python tools/collect.py $(ASSIGNMENT) "$(FROM)" --submitted "$(SUBMITTED)"

grade: setup     ## grade hand-ins: make grade ASSIGNMENT=ex02_gradcam (see docs/grading.md)
	@test -n "$(ASSIGNMENT)" || { echo "Which assignment? make grade ASSIGNMENT=ex02_gradcam"; exit 2; }
	@$(if $(CLUSTER),$(PYTHON) tools/set_up.py cluster)
	@$(VENV)/python tools/grade.py $(ASSIGNMENT) --submitted "$(SUBMITTED)" --jobs $(JOBS) $(if $(SEED),--seed $(SEED)) $(if $(ROSTER),--roster "$(ROSTER)") $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(PART),--part $(PART)) $(if $(filter 1,$(UNSAFE)),--unsafe) $(ARGS)

scheduler:       ## hand out work to several machines, at port 8786 (see docs/grading.md)
	@$(PYTHON) tools/set_up.py cluster
	@PYTHONPATH=tools:.extras/cluster $(VENV)/python -m distributed.cli.dask_scheduler --host $(HOST) $(ARGS)

worker:          ## work for a scheduler: make worker CLUSTER=tcp://host:8786 JOBS=8
	@test -n "$(CLUSTER)" || { echo "For which scheduler? make worker CLUSTER=tcp://host:8786"; exit 2; }
	@$(PYTHON) tools/set_up.py cluster
	@PYTHONPATH=tools:.extras/cluster $(VENV)/python -m distributed.cli.dask_worker $(CLUSTER) --nworkers $(JOBS) --nthreads 1 --memory-limit 0 --no-dashboard $(ARGS)

classroom:       ## start a JupyterHub on this machine, for a trial (see classroom/README.md)
	@$(PYTHON) tools/set_up.py classroom
	@$(VENV)/python tools/classroom.py $(ARGS)

#: To change the course

test:            ## run every test, all lectures included (SYSTEM=no installs no system programs)
	@$(PYTHON) tools/set_up.py slides grading cluster axe
	@$(VENV)/python tools/system_programs.py
	@$(VENV)/python -m pytest -n $(JOBS) $(ARGS)

test-web:        ## that page, tried with photos of a visitor's own (needs npm and Chromium)
	@$(PYTHON) tools/set_up.py web
	@$(VENV)/python tools/system_programs.py
	@$(VENV)/python -m pytest -q tests/web $(ARGS)

test-classroom:  ## the hub, tried: learners log in, work, take too much memory, go idle
	@$(PYTHON) tools/set_up.py classroom
	@$(VENV)/python tools/classroom.py --prepare
	@$(VENV)/python -m pytest -q tests/classroom $(ARGS)

lint: setup      ## look for faults without running anything: ruff, and mypy on methods and birds
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy

format: setup    ## format code and notebooks (ruff), and sort imports
	@$(VENV)/ruff check --quiet --fix --select I,F401 .
	@$(VENV)/ruff format .

pictures: setup  ## make the pictures again that the README shows
	@$(VENV)/python tools/readme_pictures.py $(ARGS)

methods: setup   ## score the seventeen methods where the answer is known (goes on where it was stopped)
	@$(VENV)/python tools/measure_methods.py $(ARGS)

benchmark:       ## time the course's methods beside those of grad-cam, torchcam and captum
	@$(PYTHON) tools/set_up.py benchmark
	@PYTHONPATH=.extras/benchmark $(VENV)/python tools/benchmark.py $(ARGS)

train-birds: setup ## train the networks of the drawn birds again (their weights are in data/)
	@$(VENV)/python tools/train_birds.py $(ARGS)

train-quality:   ## teach the assessors of image quality again (see tools/train_quality.py)
	@$(PYTHON) tools/set_up.py training
	@PYTHONPATH=.extras/training $(VENV)/python tools/train_quality.py $(ARGS)

lock: setup      ## resolve pyproject.toml anew and write requirements.lock
	@$(VENV)/python tools/make_lock.py

setup:           ## make .venv, which every other target does by itself
	@$(PYTHON) tools/set_up.py

clean:           ## remove what was made: .venv, .extras, _site and caches
	rm -rf .venv .extras .classroom _site build .setup-lock .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
