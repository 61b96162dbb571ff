#!/usr/bin/env bash
# What `make demo` does: set up, then serve until SIGINT or SIGTERM, in the session and process group of make.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# make hands SIGTERM on to what it runs, but takes it that SIGINT comes from a keyboard and has reached everybody:
# sent to make alone it would be waited out for ever, blocked in make's own handler, which is what tells it here.
# Where make is gone altogether, there is nobody left to serve for. Looks once a second.
# Standard input is a pipe that the server holds and nobody writes to: it ends when the server does.
watch_make() {
    local make=$1 server=$2 field value status
    while :; do
        read -r -t 1 && status=0 || status=$?
        [ "$status" -gt 128 ] || return 0
        while read -r field value; do
            if [ "$field" = PPid: ] && [ "$value" != "$make" ]; then kill -TERM "$server"; return; fi
        done < "/proc/$server/status"
        while read -r field value; do
            if [ "$field" = SigBlk: ] && (( 16#$value & 2 )); then kill -INT "$server"; return; fi
        done < "/proc/$make/status"
    done
}

scripts/setup.sh demo

# What decides whether the installation is complete is what makes it: this script need not ask again.
home=${MYCERT_HOME:-var/demo}
made_by=$(cat api/demo/*.py api/layout.py issuer/registry/migrations/versions/*.py api/journey/migrations/versions/*.py | sha256sum)
if [ ! -e "$home/.complete" ] || [ "$(< "$home/.complete")" != "$made_by" ]; then
    bin/mycert demo setup
    echo "$made_by" > "$home/.complete"
fi
if [ -n "${MAKELEVEL:-}" ]; then
    exec {alive}> >(watch_make "$PPID" "$$" &> /dev/null)
fi
exec bin/mycert serve
