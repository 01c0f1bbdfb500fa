#!/bin/sh
# Makes .venv, or brings it up to date, from constraints.txt; the Makefile calls this.
#
#   deploy/venv.sh          build or update .venv, then write the stamp .venv/.installed
#   deploy/venv.sh --check  succeed when .venv works and is the one the stamp was written for
#
# PYTHON=/path/to/python picks the interpreter; otherwise an existing good .venv keeps its own, and a new
# one gets the first usable interpreter of the list below.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH VIRTUAL_ENV
cd -- "$(dirname -- "$0")/.."

stamp=.venv/.installed

# What the stamp holds: a venv that was moved or whose base Python was replaced answers differently.
identity() {
    .venv/bin/python -c '
import sys
from importlib.metadata import distribution
for name in ("pip", "selfheal", "pytest"):
    distribution(name)
print(sys.prefix, sys.base_prefix, sys.version.replace("\n", " "))' 2>/dev/null
}

# Whether $1 is a Python this project runs on, and one that can make a virtual environment.
usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

base() {
    "$1" -c 'import sys; print(sys.base_prefix, sys.version.split()[0])' 2>/dev/null
}

good() {
    [ -f "$stamp" ] || return 1
    now=$(identity) || return 1
    [ "$now" = "$(cat "$stamp")" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(base "$PYTHON")" = "$(base .venv/bin/python)" ]
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" && { echo "$PYTHON"; return; }
        echo "PYTHON=$PYTHON is not a Python >= 3.11 with the venv module." >&2
        return 1
    fi
    for candidate in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python >= 3.11 with the venv module found (tried python3.13, python3.12, python3.11, python3)." >&2
    echo "Install one (on Debian/Ubuntu also its python3-venv package), or name one: make PYTHON=/path/to/python3" >&2
    return 1
}

if [ "${1:-}" = --check ]; then
    good
    exit
fi

# Two makes at once take turns, where the system has flock.
if command -v flock >/dev/null 2>&1; then
    exec 9>.venv.lock
    flock 9
    if good && [ "$stamp" -nt constraints.txt ] && [ "$stamp" -nt pyproject.toml ]; then
        exit 0
    fi
fi

if good; then
    echo "Updating .venv ..."
    # From here until the end there is no stamp: an interrupted run starts afresh next time.
    rm -f "$stamp"
else
    python=$(find_python)
    echo "Creating .venv with $("$python" --version) (a few minutes the first time) ..."
    rm -rf .venv
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
    --constraint constraints.txt --editable '.[demo,postgres,dev]'
identity >"$stamp.new"
mv "$stamp.new" "$stamp"
