#!/usr/bin/env bash
# Writes requirements/*.txt anew from requirements/*.in: every version and hash for Python 3.11 and later, on any
# platform. The locks name no package index; where packages come from is the machine's own configuration.
# Arguments go to uv: `scripts/lock.sh --upgrade`, `scripts/lock.sh --upgrade-package litestar`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh demo

tool=.venv/lock-tool
[ -x $tool/bin/uv ] || .venv/bin/python -m venv $tool
$tool/bin/python -m pip install --quiet --require-hashes --only-binary :all: --disable-pip-version-check \
    --requirement requirements/lock-tool.txt

for name in lock-tool build runtime dev jdk-11 jdk-25; do
    echo "lock: requirements/$name.txt"
    $tool/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command 'make lock' "$@" "requirements/$name.in" --output-file "requirements/$name.txt"
done
