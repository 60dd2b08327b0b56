#!/usr/bin/env bash
# Runs the linter and the tests in an environment of their own, which is made on the first run.
#     bash tools/run_tests.sh [--flavour onedl|openmmlab] [pytest's arguments]
# onedl (default) runs every test, openmmlab those that are not marked slow. The exit status is pytest's, or the linter's where pytest passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

flavour=onedl
if [ "${1:-}" = --flavour ]; then
    flavour=${2:-}
    shift $(($# < 2 ? $# : 2))
fi
if [ "$flavour" = openmmlab ]; then
    set -- -m 'not slow' "$@"
fi

make_environment "$flavour" tests
cd "$root"
lint=0
step 'checking the style (ruff)' "$python" -m ruff check --output-format concise . || lint=$?
echo "==> running the tests with the $flavour packages"
"$python" -m pytest "$@"
if [ "$lint" -ne 0 ]; then
    echo 'The tests pass; the style check above does not.' >&2
fi
exit "$lint"
