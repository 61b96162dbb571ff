#!/usr/bin/env bash
# Brings a fresh Debian or Ubuntu machine to the point where the demo, or the tests, can run.
#
#   scripts/setup.sh demo    what serving needs
#   scripts/setup.sh test    that, and what the checks and tests need
#
# Every step looks first and does nothing where nothing is missing, so the second run takes a blink. What decides
# is the state itself (packages, users) or a hash of the inputs (the virtual environment), never a file's age.
set -euo pipefail

# The service users read the virtual environment and the launcher, whatever root's own umask is.
umask 022

what=${1:-demo}
case $what in demo | test) ;; *) echo "usage: scripts/setup.sh demo|test" >&2; exit 2 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
venv=$root/.venv

say() { printf 'set-up: %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
is_root() { [ "$EUID" -eq 0 ]; }

source scripts/setup/interpreter.sh
source scripts/setup/packages.sh
source scripts/setup/users.sh
source scripts/setup/venv.sh

# Two at once would install into the same environment; the second waits. A folder can be locked without a file.
exec 9< "$root"
flock 9

find_interpreter
install_packages
if is_root; then create_users; fi
build_venv

# Cloned under root's umask of 077, the sources themselves would be out of the service users' reach.
if is_root && [ -n "$(find policies hsm issuer api tests ! -perm -o+r -print -quit)" ]; then
    say "letting other users read the sources"
    chmod -R a+rX policies hsm issuer api tests
fi

# The service users cannot write the compiled modules beside the sources, and would compile them at every start.
"$venv/bin/python" -I -m compileall -q policies hsm issuer api
