#!/bin/sh
# environment.sh PYTHON FOLDER [FILE]: installs the pinned packages of requirements.in into a new virtual
# environment, or those of FILE into the one that is there.
#
# It uses uv if uv is on the PATH. Otherwise, or with UV= (empty), it uses venv and pip, which take longer.
# It first clears what an interrupted run left in the folder.
set -euf
python=$1
folder=$2
wanted=${3-requirements.in}
[ $# = 2 ] && new=yes || new=

stop() {
    echo "$1" >&2
    exit 1
}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=
case $version in
3.11 | 3.12 | 3.13) ;;
*)
    found=${version:+"is Python $version; expected"}
    stop "$python ${found:-was not found; expected Python} 3.11, 3.12 or 3.13: run \`make setup PYTHON=python3.12\`, if need be after \`uv python install 3.12\`"
    ;;
esac
# The interpreter behind an active environment, which may be the very one that is cleared.
base=$("$python" -c 'import sys; print(sys._base_executable)')

if [ -n "${UV-uv}" ] && uv=$(command -v "${UV-uv}"); then
    # uv does not read pip's settings, which may name a mirror or a folder of packages.
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
    case ${PIP_NO_INDEX-$(configured no-index)} in
    1 | [Tt]rue | [Yy]es | [Oo]n) set -- "$@" --no-index ;;
    esac
    echo "Installing $wanted into $folder with uv and Python $version."
    [ -z "$new" ] || UV_VENV_CLEAR=1 "$uv" venv -q --python "$base" "$folder"
    "$uv" pip install -q --no-compile --python "$folder" "$@" pip -r "$wanted" -c constraints.txt
else
    "$base" -c 'import ensurepip' 2>/dev/null ||
        stop "$python has no ensurepip, which makes environments: run \`sudo apt install python$version-venv\` (Debian, Ubuntu), or install uv"
    echo "Installing $wanted into $folder with pip and Python $version. This takes some minutes; uv on the PATH is faster."
    if [ "$new" ]; then
        "$base" -m venv --clear "$folder"
        # The newest pip takes half the time of the one that Python brings. Where none can be had, e.g.
        # without a network, the old one stays.
        "$folder/bin/pip" install -q --no-compile --upgrade pip 2>/dev/null || :
    fi
    "$folder/bin/pip" install -q --no-compile -r "$wanted" -c constraints.txt
fi
# An import compiles what it needs, which is a fraction of all files. Where Python is told to write no
# bytecode, those of requirements.in are compiled here, on all cores (pip would take one). toppra always
# is: Python warns of escapes in its source when it compiles them, and the tests turn warnings into errors.
"$folder/bin/python" -W ignore -c '
import compileall, os, re, sys, sysconfig
place = sysconfig.get_path("purelib")
whole = sys.argv[1] and os.environ.get("PYTHONDONTWRITEBYTECODE")
compileall.compile_dir(place if whole else place + "/toppra", quiet=2, workers=0,
                       rx=re.compile("site-packages/.*/tests/"))' "$new"
