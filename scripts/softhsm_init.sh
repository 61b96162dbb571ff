#!/usr/bin/env bash
# Makes the three SoftHSM tokens (root, issuing, status) with fresh random PINs.
#
#   scripts/softhsm_init.sh [--dry-run]
#
# Needs MYCERT_HOME with a configuration in it (MYCERT_CONFIG, else $MYCERT_HOME/mycert.toml). PINs are made here,
# written to $MYCERT_HOME/secrets/<token>.pin and <token>.so.pin, mode 0600, and are never an argument, a variable of
# the environment, or on the screen. A PIN is written before its token is made, so no token is ever without; what
# exists is left alone, so the script can be repeated after a crash.
set -euo pipefail
umask 077

home=${MYCERT_HOME:?set MYCERT_HOME to the folder of the installation}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
mycert=${MYCERT_COMMAND:-$here/bin/mycert}
case ${1:-} in
    '') dry= ;;
    --dry-run) dry=--dry-run ;;
    *) echo "usage: scripts/softhsm_init.sh [--dry-run]" >&2; exit 2 ;;
esac

pin() { # 160 bits
    if [ -e "$1" ]; then [ -z "$dry" ] || echo "would keep $1"; return; fi
    if [ -n "$dry" ]; then echo "would make $1"; return; fi
    head -c 20 /dev/urandom | base32 | tr -d '=\n' > "$1.new"
    sync "$1.new"
    mv "$1.new" "$1"
}

[ -n "$dry" ] || mkdir -p "$home/secrets" "$home/tokens"
for token in root issuing status; do
    pin "$home/secrets/$token.so.pin"
    pin "$home/secrets/$token.pin"
done
[ -n "$dry" ] || sync "$home/secrets"
if [ ! -e "$home/softhsm2.conf" ] && [ -z "$dry" ]; then
    printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$home/tokens" \
        > "$home/softhsm2.conf.new"
    chmod 644 "$home/softhsm2.conf.new"
    mv "$home/softhsm2.conf.new" "$home/softhsm2.conf"
fi
[ -n "$dry" ] || "$mycert" hsm init --so-pin-folder "$home/secrets" root issuing status
