#!/bin/sh
# Renews constraints.txt (`make lock`): resolves the project with all its extras to the newest versions that
# pyproject.toml allows, in a throw-away virtual environment of the oldest supported Python, and then checks
# that the same versions install on the newer ones found here. What only a newer Python needs is added with
# an environment marker. LOCK_PYTHONS names the interpreters, oldest first.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH VIRTUAL_ENV
cd -- "$(dirname -- "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# A copy, so that building leaves nothing behind here; the packages themselves play no part in resolving.
mkdir "$tmp/project"
cp pyproject.toml "$tmp/project/"
target="$tmp/project[demo,postgres,dev]"

pin() {
    # Only name==version: a line that says where a package came from has no place in the file.
    if grep -v -E '^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$' "$1" | grep . >&2; then
        echo "^ not a plain name==version; constraints.txt is unchanged." >&2
        return 1
    fi
    LC_ALL=C sort -f "$1"
}

first=
for python in ${LOCK_PYTHONS:-python3.11 python3.12 python3.13}; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || {
        echo "$python: not found, skipped" >&2
        continue
    }
    echo "Resolving on Python $version ..." >&2
    "$python" -m venv "$tmp/$version"
    pip="$tmp/$version/bin/python -m pip --disable-pip-version-check --no-input"
    if [ -z "$first" ]; then
        first=$version
        $pip install --quiet "$target"
        $pip freeze --exclude-editable | grep -v -E '^selfheal( |==)' >"$tmp/frozen"
        pin "$tmp/frozen" >"$tmp/pins"
    else
        $pip install --quiet --dry-run --report "$tmp/report.json" --constraint "$tmp/pins" "$target"
        "$python" - "$tmp/report.json" "$tmp/pins" "$version" >"$tmp/more" <<'PYTHON'
import json, re, sys

report, pins, version = sys.argv[1:]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


with open(pins) as file:
    known = {canonical(line.split("==")[0]) for line in file}
with open(report) as file:
    for item in json.load(file)["install"]:
        name, pinned = item["metadata"]["name"], item["metadata"]["version"]
        if canonical(name) not in known | {"selfheal"}:
            print(f'{name}=={pinned} ; python_version >= "{version}"')
PYTHON
        cat "$tmp/more" >>"$tmp/extra"
        # A later Python sees these pins too: the markers say which ones apply to it.
        LC_ALL=C sort -f "$tmp/pins" "$tmp/more" >"$tmp/pins.new"
        mv "$tmp/pins.new" "$tmp/pins"
    fi
done
[ -n "$first" ] || {
    echo "No Python found to resolve with (LOCK_PYTHONS)." >&2
    exit 1
}

{
    echo "# The exact versions of everything this project installs, with the extras demo, postgres and dev."
    echo "# Written by deploy/lock.sh: renew with \`make lock\`, do not edit by hand."
    echo "# Use: pip install -c constraints.txt -e '.[demo,postgres,dev]' (\`make\` does that by itself)."
    cat "$tmp/pins"
} >"$tmp/constraints.txt"
cat "$tmp/constraints.txt" >constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) versions" >&2
