#!/usr/bin/env bash
# Builds the site into build/site (or the folder named), without a network once the environment is there. A warning, a
# lost link among them, is an error.
#     bash tools/build_docs.sh [FOLDER]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

site=$(realpath -m "${1:-$root/build/site}")
make_environment onedl docs
cd "$root"
"$python" -m sphinx -W --keep-going -q -b html -c docs -d build/doctrees . "$site"
echo "==> $site/index.html"
