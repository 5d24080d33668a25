#!/bin/sh
# environment.sh PYTHON FOLDER: installs the pinned packages into a new virtual environment.
#
# uv does it in seconds where it is on the PATH, venv and pip in minutes elsewhere or with UV= (empty).
# What an interrupted run left in the folder is cleared first.
set -euf
python=$1
folder=$2

stop() {
    echo "$1" >&2
    exit 1
}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=
case $version in
3.11 | 3.12 | 3.13) ;;
*) stop "$python is ${version:-not there}, but Python 3.11, 3.12 or 3.13 is needed: \`make setup PYTHON=python3.12\` names one, \`uv python install 3.12\` fetches one." ;;
esac
# The interpreter behind an active environment, which may be the very one that is cleared.
base=$("$python" -c 'import sys; print(sys._base_executable)')

if [ -n "${UV-uv}" ] && uv=$(command -v "${UV-uv}"); then
    # uv does not read pip's configuration, where a machine may name a mirror or packages that it has.
    settings=$("$python" -m pip config list 2>/dev/null) || settings=
    configured() {
        printf '%s\n' "$settings" | sed -nE "s/^(global|install)\.$1='(.*)'$/\2/p" | tail -n 1 | sed 's/\\n/ /g'
    }
    set --
    for place in ${PIP_FIND_LINKS-$(configured find-links)}; do
        set -- "$@" --find-links "$place"
    done
    for index in ${PIP_INDEX_URL-$(configured index-url)}; do
        set -- "$@" --default-index "$index"
    done
    for index in ${PIP_EXTRA_INDEX_URL-$(configured extra-index-url)}; do
        # As pip does: a pinned version is taken from whichever index has it.
        export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"
        set -- "$@" --index "$index"
    done
    echo "Installing into $folder with uv and Python $version."
    UV_VENV_CLEAR=1 "$uv" venv -q --seed --python "$base" "$folder"
    # Compiled as pip does: no warning of a package's source then turns up in the middle of a run.
    "$uv" pip install -q --compile-bytecode --python "$folder" "$@" -r requirements.in -c constraints.txt
else
    "$base" -c 'import ensurepip' 2>/dev/null ||
        stop "$python cannot make environments, it has no ensurepip: \`sudo apt install python$version-venv\` (Debian, Ubuntu), or install uv."
    echo "Installing into $folder with pip and Python $version; this takes minutes (with uv on the PATH, seconds)."
    "$base" -m venv --clear "$folder"
    "$folder/bin/pip" install -q -r requirements.in -c constraints.txt
fi
