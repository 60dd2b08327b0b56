#!/usr/bin/env bash
# Runs the checks of style and types and the tests in an environment of their own, which is made on the first run.
#     bash tools/run_tests.sh [--flavour onedl|openmmlab] [pytest's arguments]
# onedl (default) checks and runs every test, openmmlab runs those that are not marked slow, without the rooms that use
# no OpenMMLab package. Two processes share the tests; with `-n 0` among the arguments one runs them all, as a debugger
# wants it.
# The exit status is pytest's, or that of the checks where pytest passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

flavour=onedl
if [ "${1:-}" = --flavour ]; then
    flavour=${2:-}
    shift $(($# < 2 ? $# : 2))
fi
if [ "$flavour" = openmmlab ]; then
    alike=(test_datasets/test_refer test_datasets/test_checking test_datasets/test_refshapes test_fuzz)
    set -- -m 'not slow' "${alike[@]/#/--ignore=tests/}" "$@"
fi

make_environment "$flavour" tests
cd "$root"
checks=0
if [ "$flavour" = onedl ]; then
    step 'checking the style (ruff)' "$python" -m ruff check --output-format concise . || checks=$?
    step 'checking the format (ruff)' "$python" -m ruff format --check . || checks=$?
    step 'checking the types (mypy)' "$python" -m mypy || checks=$?
fi
echo "==> running the tests with the $flavour packages"
OMP_NUM_THREADS=1 "$python" -m pytest -n 2 --dist worksteal "$@"
if [ "$checks" -ne 0 ]; then
    echo 'The tests pass; a check of style or types above does not.' >&2
fi
exit "$checks"
