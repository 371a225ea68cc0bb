#!/bin/sh
# Writes the lists of what goes into the image: every package with its version and the hashes of its
# files, from pyproject.toml and constraints.txt. Run it again when either of them changes:
#
#   pip install uv
#   sh docker/lock.sh
#
# cpu.lock    all but torch, for a torch without CUDA
# gpu.lock    all, with the torch of PyPI, which brings CUDA
# build.lock  what makes the wheel of this project
#
# torch-cpu.lock is written by hand, as it is changed with torch alone. Where PyTorch's own index
# can't be reached, say where its wheel lies:  sh docker/lock.sh --find-links FOLDER
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --torch-backend cpu

lock() {
    uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes \
        --custom-compile-command 'sh docker/lock.sh' --upgrade "$@"
}

torch=$(grep '^torch==' docker/torch-cpu.lock | cut -d' ' -f1)
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT

printf '%s\n' "$torch" > "$wanted"
lock pyproject.toml "$wanted" --constraint constraints.txt --no-emit-package torch \
    --no-annotate --output-file docker/cpu.lock "$@"

lock pyproject.toml --constraint constraints.txt --no-annotate --output-file docker/gpu.lock

python3 -c 'import sys, tomllib
print(*tomllib.load(sys.stdin.buffer)["build-system"]["requires"], sep="\n")' \
    < pyproject.toml > "$wanted"
lock "$wanted" --constraint constraints.txt --no-annotate --output-file docker/build.lock
