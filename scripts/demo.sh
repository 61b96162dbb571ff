#!/usr/bin/env bash
# What `make demo` does: set up, then serve until SIGINT or SIGTERM, in the session and process group of make.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# make hands SIGTERM on to what it runs, but takes it that SIGINT comes from a keyboard and has reached everybody:
# sent to make alone it would be waited out for ever, blocked in make's own handler, which is what tells it here.
# Where make is gone altogether, there is nobody left to serve for. Looks once a second, and starts nothing to do so.
watch_make() {
    local make=$1 server=$2 never field value
    exec {never}<> <(:)
    while kill -0 "$server"; do
        read -r -t 1 -u "$never" || :
        while read -r field value; do
            if [ "$field" = PPid: ] && [ "$value" != "$make" ]; then kill -TERM "$server"; return; fi
        done < "/proc/$server/status"
        while read -r field value; do
            if [ "$field" = SigBlk: ] && (( 16#$value & 2 )); then kill -INT "$server"; return; fi
        done < "/proc/$make/status"
    done
}

scripts/setup.sh demo
bin/mycert demo setup
# Not a child of the server's, which looks after its own.
[ -z "${MAKELEVEL:-}" ] || (watch_make "$PPID" "$$" < /dev/null &> /dev/null &)
exec bin/mycert serve
