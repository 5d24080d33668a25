#!/bin/bash
# Builds both images and runs them on a machine without a Docker engine: with buildah and chroot
# isolation, on a Debian base made by debootstrap. It builds the last commit. As root, from the repository:
#     docker/prove.sh FOLDER       (30 GB free; rm -rf FOLDER afterwards)
#   BASE_IMAGE      base image to use instead of debootstrap's
#   REUSE           targets whose images an earlier run left in FOLDER: they are not built again
#   BUILD_OPTIONS   further options of `buildah bud`: -v for pip's configuration, for instance
set -euo pipefail
mkdir -p "${1:?a folder to work in}"
folder=$(realpath "$1")
project=$folder/project
owner=4321:4321 # plays the host's user; neither image knows it
read -ra options <<< "${BUILD_OPTIONS:-}"
export OMP_NUM_THREADS=1

buildah() {
    command buildah --storage-driver vfs --root "$folder/store" --runroot "$folder/run" "$@"
}
say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
in_train() { # as compose.yaml runs it, with data and checkpoints from other folders of the host
    buildah run --isolation chroot --user "$owner" -v "$project:/workspace" \
        -v "$folder/data:/workspace/data" -v "$folder/checkpoints:/workspace/checkpoints" \
        "$train" -- "$@"
}

if [ -z "${BASE_IMAGE:-}" ] && ! buildah images -q localhost/base > /dev/null 2>&1; then
    say "base"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        bookworm "$folder/base" > "$folder/base.log"
    base=$(buildah from scratch)
    rm -rf "$folder"/base/var/cache/apt/*.bin "$folder"/base/var/cache/apt/archives/*.deb
    rm -rf "$folder"/base/var/lib/apt/lists/*
    buildah add -q "$base" "$folder/base" /
    buildah commit -q --rm "$base" localhost/base
fi

say "project: a clone of the last commit that belongs to $owner"
rm -rf "$project" "$folder/data" "$folder/checkpoints"
git clone -q . "$project"
mkdir -p "$folder"/{,project/}{data,checkpoints}
chown -R "$owner" "$project" "$folder/data" "$folder/checkpoints"

for target in runtime train; do
    [[ " ${REUSE:-} " != *" $target "* ]] || continue
    say "build $target"
    buildah bud --isolation chroot --format docker --target "$target" -t "localhost/$target" \
        --build-arg "BASE_IMAGE=${BASE_IMAGE:-localhost/base}" "${options[@]}" \
        -f "$project/docker/Dockerfile" "$project" > "$folder/$target.log" 2>&1 \
        || fail "see $folder/$target.log"
done
buildah images
train=$(buildah from localhost/train)
runtime=$(buildah from localhost/runtime)
trap 'buildah rm "$train" "$runtime" > /dev/null' EXIT

say "train: the image unchanged, as its own user"
buildah run --isolation chroot "$train" -- entrypoint sh -c 'id && python -m pipeline --help' \
    > "$folder/help.log"
head -4 "$folder/help.log"
buildah run --isolation chroot --env HOME=/tmp "$train" -- entrypoint python -m pytest -q -p no:cacheprovider \
    tests/params tests/doctor/test_docker.py tests/robot/test_render.py \
    tests/policy/networks/test_mlp.py tests/serving/test_server.py

# A container usually has one user; this one continues as another.
buildah run --isolation chroot --user 0:0 "$train" -- rm -rf /home/pipeline/.cache

say "train: a project that the user may not write to is refused"
if buildah run --isolation chroot --user "$owner" "$train" -- entrypoint true; then fail "it ran"; fi

say "train: the whole chain with small numbers, by make and DVC in the host's project"
in_train entrypoint make repro ARGS="-S collect.episodes=24 -S train.num_epochs=1 \
    -S evaluate.pens=4 -S evaluate.robustness=off -S evaluate.grasp_pens=2 -S evaluate.films=1 \
    -S export.targets=[] -S export.latency_calls=5" > "$folder/chain.log" 2>&1 \
    || fail "see $folder/chain.log"
in_train dvc status

say "train: one epoch, as the users' guide types it"
cp -a "$project/artifacts/dataset/pen_grasp.zarr" "$folder/data/"
in_train entrypoint python -m pipeline train --data-path /workspace/data/pen_grasp.zarr \
    --output-dir /workspace/checkpoints/diffusion_policy --num-epochs 1 --batch-size 64
ls -ln "$folder/checkpoints/diffusion_policy"
others=$(find "$project" "$folder/data" "$folder/checkpoints" ! -uid "${owner%:*}")
[ -z "$others" ] || fail "not the user's: $others"
echo "every file belongs to $owner"

say "train: stays alive, shows TensorBoard on 6007, ends on SIGTERM"
# shellcheck disable=SC2016  # expanded inside
in_train sh -c 'entrypoint stay > /tmp/stay.log 2>&1 & stay=$!
for second in $(seq 90); do sleep 1; python -c "
import urllib.request
runs = urllib.request.urlopen(\"http://127.0.0.1:6007/data/runs\").read().decode()
print(runs)
assert \"diffusion_policy\" in runs
" 2> /dev/null && break; done
kill -TERM $stay && wait $stay && [ "$second" -lt 90 ]' || fail "no TensorBoard, or no end"

say "runtime: no torch, not root"
buildah run --isolation chroot "$runtime" -- python -c "import importlib.util as u, os
found = [name for name in ('torch', 'dvc', 'mujoco', 'zarr', 'onnx', 'pip') if u.find_spec(name)]
assert not found and os.getuid(), (found, os.getuid())
print('uid', os.getuid(), '- none of torch, dvc, mujoco, zarr, onnx, pip')"

say "runtime: the image's entry point serves the policy of that chain to a client"
config() { # a list of the image's configuration, as it was built
    buildah inspect --type image localhost/runtime | python3 -c "import json, shlex, sys
print(shlex.join(json.load(sys.stdin)['Docker']['config']$1))"
}
touch "$folder/stamp"
buildah run --isolation chroot --env POLICY_TOKEN=proof -v "$project/artifacts/export:/policy:ro" \
    "$runtime" -- sh -c "$(config "['Entrypoint']") & server=\$!
for second in \$(seq 60); do sleep 1; $(config "['Healthcheck']['Test'][1:]") 2> /dev/null && break; done
[ \"\$second\" -lt 60 ] && echo \"healthy after \$second s\"
$(cat << 'PYTHON'
python - << 'END' || exit 1
from pipeline.serving.client import ClientError, PolicyClient
url, seen = "ws://127.0.0.1:8765", {"joint_pos": [0, -0.3, 0.8, 0, 1.57, 0]}
with PolicyClient(url, "proof") as policy:
    policy.reset()
    for _ in range(30):
        command = policy.act({**seen, "pen_pos": [0.4, 0, 0.3], "pen_axis": [0, 0, 1]})
print("30 commands, the last", [round(float(angle), 3) for angle in command], "rad")
try:
    PolicyClient(url, "another")
except ClientError as error:
    print("refused:", error)
else:
    raise SystemExit("a wrong token was let in")
END
PYTHON
)
kill -TERM \$server && wait \$server" || fail "serving"
written=$(find "$(buildah mount "$runtime")" -xdev -newer "$folder/stamp" -type f \
    ! -path '*/etc/*' ! -path '*/proc/*' | head -3)
[ -z "$written" ] || fail "a read-only container would miss $written"
echo "nothing was written inside, so the container can be read-only"

say "sizes"
buildah images --format '{{.Name}} {{.Size}}'
