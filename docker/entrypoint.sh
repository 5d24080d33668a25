#!/bin/sh
# First process of the training image: refuses a /workspace that it cannot write to, else runs the command.
set -eu
if [ ! -w /workspace ]; then
    {
        echo "error: /workspace belongs to $(stat -c %u:%g /workspace) and the container runs as" \
            "$(id -u):$(id -g), which may not write there. On the host, in the repository:"
        echo "    make docker/.env && cd docker && docker compose up -d"
    } >&2
    exit 1
fi
if [ "$*" != "stay" ]; then
    exec "$@"
fi
# Stay alive for `docker compose exec` and show trainings in TensorBoard. If TensorBoard fails, the
# trainings in this container must go on.
trap 'kill "$!" 2>/dev/null; exit 0' TERM INT
while :; do
    tensorboard --logdir_spec artifacts:/workspace/artifacts,checkpoints:/workspace/checkpoints \
        --host 0.0.0.0 --port 6007 &
    wait "$!" || true
    echo "TensorBoard ended; again in 10 s" >&2
    sleep 10 &
    wait "$!" || true
done
