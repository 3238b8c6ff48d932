#!/usr/bin/env bash
# Fetch as wheels what an offline machine with a GPU lacks (Linux x86-64, CPython 3.12), in parts of
# at most 60 MB, and say how to install them there. See README.md; the list is made in wheels.py.
#
#     tests/gpu/pack.sh DIR           (PYTHON names the interpreter of the environment: .venv's)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../../.venv/bin/python}
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
target=$1
if [ -e "$target" ] && [ -n "$(ls -A "$target")" ]; then
    echo "pack: $target isn't empty: wheels of an earlier pack would be mixed in" >&2
    exit 2
fi
mkdir -p "$target"

wanted=$("$python" "$here/wheels.py" list)
platforms=()
for name in $("$python" "$here/wheels.py" platforms); do platforms+=(--platform "$name"); done
pip=("$python" -m pip --disable-pip-version-check)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for requirement in $wanted; do
    # What has no wheel is built from its source; the check below refuses what isn't pure Python.
    "${pip[@]}" download --quiet --no-deps --only-binary=:all: --dest "$target" \
        --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
        "${platforms[@]}" "$requirement" >"$log" 2>&1 ||
    DS_BUILD_OPS=0 "${pip[@]}" wheel --quiet --no-deps --wheel-dir "$target" \
        "$requirement" >>"$log" 2>&1 ||
    {
        cat "$log" >&2
        echo "pack: $requirement can't be fetched, nor built (see above)" >&2
        exit 1
    }
done

"$python" "$here/wheels.py" part "$target"
cat <<END

There, with $target/part-* beside the checkout (one part at a time will do):

    python3 -m pip install --no-index --no-deps --no-compile --upgrade --target /tmp/recalltrap-site \\
        $(basename "$target")/part-*/*.whl
    export PYTHONPATH=/tmp/recalltrap-site
    python3 tests/gpu/acceptance.py
END
