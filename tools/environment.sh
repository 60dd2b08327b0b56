# Sourced by the other scripts: where the project lies, and which Python runs it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "error: $*" >&2
    exit 1
}

# step "what happens" COMMAND...: runs a command between a line that says what happens and one with the time it took.
step() {
    local title=$1 begun=$SECONDS
    shift
    echo "==> $title"
    "$@" || return
    echo "==> done in $((SECONDS - begun)) s"
}

# The Python that new environments are made with: $PYTHON, else the first of the usual names that is new and old enough.
base_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.10 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail 'no Python 3.10, 3.11 or 3.12 was found: install one, or name it, as in PYTHON=/path/to/python3.11'
}

# The Python that runs a job: the active one if it has mmengine, else that of the environment that quickstart.sh made.
project_python() {
    local own="${CMMASKSD_VENV:-$root/.venv/onedl}/bin/python"
    if python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("mmengine") is None)' 2>/dev/null; then
        command -v python
    elif [ -x "$own" ]; then
        echo "$own"
    else
        fail 'the active Python has no mmengine and there is no environment yet: activate yours, or run' \
            '`bash tools/quickstart.sh` once'
    fi
}

new_venv() {
    local base=$1 venv=$2
    # Some systems ship venv without pip; then the pip at hand fills the new environment.
    "$base" -m venv "$venv" ||
        { "$base" -m venv --without-pip "$venv" && "$base" -m pip --python "$venv/bin/python" install -q pip; }
}

# fill_venv VENV PIP'S ARGUMENTS...: installs into an environment; what pip says is added to VENV/install.log.
fill_venv() {
    local venv=$1 log="$1/install.log"
    "$venv/bin/python" -m pip install -c "$root/requirements/constraints.txt" "${@:2}" >>"$log" 2>&1 && return
    tail -n 5 "$log" >&2
    fail "the installation failed; all that pip said is in $log"
}

# A server without a display may lack the libraries of OpenCV's windows; its headless twin needs none.
mend_opencv() {
    local venv=$1 version
    "$venv/bin/python" -c 'import cv2' 2>/dev/null && return
    version=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("opencv-python"))')
    "$venv/bin/python" -m pip uninstall -q -y opencv-python
    fill_venv "$venv" --no-deps --force-reinstall "opencv-python-headless==$version"
    "$venv/bin/python" -c 'import cv2' || fail 'OpenCV cannot be imported'
}

# fill_shared VENV [EXTRAS]: what both flavours use. PyTorch goes first and alone: its wheels, 3 GB, are gone from the
# disk again before the others come.
fill_shared() {
    local shared=$1 torch
    torch=$(grep '^torch' "$root/requirements/runtime.txt")
    fill_venv "$shared" "$torch" torchvision
    fill_venv "$shared" -r "$root/requirements/runtime.txt" ${2:+-r "$root/requirements/$2.txt"}
    mend_opencv "$shared"
}

# fill_flavour VENV SHARED FLAVOUR [EXTRAS]: OpenMMLab's packages and this one; the others are found in SHARED.
fill_flavour() {
    local venv=$1 shared=$2 packages='import sysconfig; print(sysconfig.get_path("purelib"))'
    "$shared/bin/python" -c "$packages" >"$("$venv/bin/python" -c "$packages")/shared.pth"
    fill_venv "$venv" -e "$root[$3${4:+,$4}]"
}

# make_venv VENV: makes an environment unless there is one that works.
make_venv() {
    local base
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    base=$(base_python) || exit
    new_venv "$base" "$1" || fail "no environment could be made in $1"
}

# up_to_date STAMP: whether the environment of this stamp was filled for the requirements as they are now.
up_to_date() {
    [ "$(cat "$1" 2>/dev/null)" = "$wanted" ] && "$(dirname "$1")/bin/python" -c '' 2>/dev/null
}

# make_environment FLAVOUR [EXTRAS]: makes or reuses .venv/FLAVOUR (or $CMMASKSD_VENV) and sets `python` to its
# interpreter. In .venv/shared (or $CMMASKSD_VENV-shared) lie PyTorch and all else that the two
# flavours have in common.
make_environment() {
    local flavour=$1 extras=${2:-} other shared stamp venv wanted
    case $flavour in
        onedl) other=openmmlab ;;
        openmmlab) other=onedl ;;
        *) fail "the flavour is onedl or openmmlab, not '$flavour'" ;;
    esac
    venv=${CMMASKSD_VENV:-$root/.venv/$flavour}
    shared=${CMMASKSD_VENV:+$CMMASKSD_VENV-shared}
    shared=${shared:-$root/.venv/shared}
    python="$venv/bin/python"
    stamp="installed-$flavour${extras:+-$extras}"
    wanted="$root $(cat "$root"/requirements/*.txt "$root/setup.py" "$root/cmmasksd/__init__.py" | cksum)"
    if up_to_date "$venv/$stamp"; then
        echo "==> reusing the environment in $venv"
        return
    fi
    if compgen -G "$venv/installed-$other*" >/dev/null; then
        fail "$venv holds the other flavour, $other, which fills the same folders: delete it," \
            "or name another folder in CMMASKSD_VENV"
    fi
    if ! up_to_date "$shared/installed${extras:+-$extras}"; then
        step "making a Python environment in $shared" make_venv "$shared"
        step "installing PyTorch and what else both flavours use: some minutes, about 6 GB of disk" \
            fill_shared "$shared" "$extras"
        echo "$wanted" >"$shared/installed${extras:+-$extras}"
    fi
    step "making a Python environment in $venv" make_venv "$venv"
    step "installing $flavour into $venv" fill_flavour "$venv" "$shared" "$flavour" "$extras"
    echo "$wanted" >"$venv/$stamp"
}

# Lets an active environment with the requirements alone find the package.
find_package() {
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
}

# launch PROCESSES SCRIPT ARGUMENTS...: torchrun on this machine, or this machine's share of a job over several.
launch() {
    local processes=$1 python cores
    python=$(project_python) || exit
    find_package
    cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
    if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then # two jobs on one machine must not meet at one port
        PORT=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    fi
    exec "$python" -m torch.distributed.run --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" \
        --nproc_per_node "$processes" --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}" "${@:2}"
}

# submit PARTITION JOB SCRIPT ARGUMENTS...: srun with the sizes that GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS
# ask for.
submit() {
    local python gpus=${GPUS:-8} per_node
    python=$(project_python) || exit
    find_package
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    # SRUN_ARGS holds several words.
    # shellcheck disable=SC2086
    exec srun --partition "$1" --job-name "$2" --gres "gpu:$per_node" --ntasks "$gpus" --ntasks-per-node "$per_node" \
        --cpus-per-task "${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$python" -u "${@:3}"
}
