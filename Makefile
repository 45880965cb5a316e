# Every command that a person types. `make` alone lists them.

# What grading needs, as Debian and Ubuntu call it. `make setup` installs it.
PACKAGES = gcc g++ libc6-dev libssl-dev binutils strace bubblewrap util-linux git \
	xxd python3 python3-pytest python3-pytest-xdist python3-yaml \
	python3-markdown-it python3-jsonschema python3-hypothesis
PIP_PACKAGES = pytest pytest-xdist PyYAML markdown-it-py jsonschema hypothesis

# The first Python that has the modules: yours, a virtual environment, the system's.
FIND_PYTHON = for p in "$$PYTHON" .venv/bin/python3 python3 /usr/bin/python3; do \
	[ -n "$$p" ] && "$$p" -c 'import pytest, xdist, yaml, markdown_it, jsonschema' \
	2>/dev/null && echo "$$p" && break; done
PY = python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then \
	echo "no python3 here has the modules that the grader needs: make setup" >&2; \
	exit 2; fi; "$$python"
JOBS = $$(nproc 2>/dev/null || echo 2)

.PHONY: help
help: ## list these commands
	@echo "make w10-l02      grade a lesson as it stands in your working tree"
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | \
		while IFS="$$(printf '\t')" read -r name what; do \
		printf 'make %-12s %s\n' "$$name" "$$what"; done

# Grading never installs anything.
w1%: FORCE
	@$(PY) -m grader grade $@
FORCE:

.PHONY: setup
setup: ## install what grading needs (Debian, Ubuntu: with apt, announced)
	@missing=; \
	if command -v dpkg-query >/dev/null; then for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || \
		missing="$$missing $$package"; done; \
	else python=$$($(FIND_PYTHON)); \
		[ -n "$$python" ] && "$$python" -m grader doctor && exit 0; \
		echo "This is no Debian or Ubuntu. Install gcc, g++, OpenSSL's headers, binutils,"; \
		echo "strace, bubblewrap, util-linux, git, xxd and Python 3.10 or later, then:"; \
		echo "    python3 -m venv .venv && .venv/bin/pip install $(PIP_PACKAGES)"; \
		exit 2; fi; \
	if [ -z "$$missing" ]; then echo "nothing to install"; exit 0; fi; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; command -v sudo >/dev/null || { \
		echo "as root, run: apt-get install$$missing" >&2; exit 2; }; fi; \
	echo "installing with apt:$$missing"; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null

.PHONY: doctor
doctor: ## say what this machine lacks
	@$(PY) -m grader doctor

# The shell is given; the log under it is yours.
KV = w10/kv_shell.c w10/checkpoint.c w10/wal_recovery.c w10/wal_writer.c \
	w10/wal_record.c w10/crc32.c w10/kv.c

.PHONY: kv
kv: build/kv ## run a key-value shell on your log, in kv_dir/ (w10-l05)
	@exec build/kv kv_dir

build/kv: $(KV) $(wildcard w10/*.h)
	@mkdir -p build
	@gcc -Wall -Wextra -g -O2 -DNO_SELF_TEST -o $@ $(KV)

.PHONY: explain
explain: ## explain a finding: make explain CODE=D101
	@[ -n "$(CODE)" ] || { echo "which? make explain CODE=D101" >&2; exit 2; }
	@$(PY) -m grader explain $(CODE)

.PHONY: prove
prove: ## hold a lesson's proof patterns against its run: make prove LESSON=w13-l02
	@[ -n "$(LESSON)" ] || { echo "which? make prove LESSON=w13-l02" >&2; exit 2; }
	@$(PY) -m grader prove $(LESSON)

.PHONY: demo
demo: setup ## see the grader at work: a pass, then a lost fsync
	@$(PY) -m grader demo

.PHONY: test
test: setup ## everything: the grader, the references, the skeletons, the texts
	@$(PY) -m pytest -q -n $(JOBS)
	@$(MAKE) --no-print-directory solutions

.PHONY: grade-the-grader
grade-the-grader: ## every known-bad and every odd but right solution, in a table
	@$(PY) -m grader audit

.PHONY: steady
steady: ## grade the same fifty times, four at once: always the same findings?
	@$(PY) -m grader steady

.PHONY: reference
reference: ## write the reference tree to build/reference/
	@$(PY) -m grader reference build/reference

.PHONY: solutions
solutions: reference ## grade the reference: full points
	@$(PY) -m grader grade all --root build/reference

.PHONY: skeletons
skeletons: ## write the skeletons anew from the solutions (for maintainers)
	@$(PY) -m grader skeletons

.PHONY: lessons
lessons: ## write the lessons' embedded code anew (for maintainers)
	@$(PY) -m grader lessons

.PHONY: reset
reset: ## put a lesson's skeletons back: make reset LESSON=w10-l02
	@[ -n "$(LESSON)" ] || { echo "which? make reset LESSON=w10-l02" >&2; exit 2; }
	@$(PY) -m grader reset $(LESSON)

.PHONY: crashlab
crashlab: ## build the crash lab's command: build/crashlab
	@$(PY) -m grader.crash.lab

.PHONY: bench-crashlab
bench-crashlab: ## how many disks a second the crash lab tries
	@$(PY) -m grader.crash.bench

.PHONY: bench
bench: ## how fast the log is, beside a raw loop, LevelDB and SQLite
	@$(PY) -m grader.bench

.PHONY: clean
clean: ## remove what was built
	rm -rf build
