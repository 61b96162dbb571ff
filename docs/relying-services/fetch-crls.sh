#!/usr/bin/env bash
# Fetches myCert's CRLs for a server that reads them from a file, and reloads it when they changed.
#
#   fetch-crls.sh BASE TRUST OUTPUT [COMMAND [ARGUMENT...]]
#
#   BASE     address of the status service, for example http://pki.example.org
#   TRUST    PEM file with the root's and the issuing CA's certificates, obtained as README.md says
#   OUTPUT   PEM file to write: both CRLs
#   COMMAND  run after OUTPUT changed, to make the server read it: systemctl reload nginx
#
# Nothing replaces OUTPUT before it was verified: signed by a CA in TRUST, not over, number not lower than before.
# OUTPUT is replaced by rename, so a server never reads half of it. Whatever fails, the old file stays in force until
# its own nextUpdate, and the exit status is 1: let that raise an alarm. Runs at the same time take turns.
set -euo pipefail
umask 022

[ $# -ge 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
base=${1%/} trust=$2 output=$3
shift 3
say() { echo "fetch-crls: $*" >&2; }

exec 9>> "$output.lock"
flock 9
work=$(mktemp -d "$(dirname "$output")/.crls.XXXXXX") # Beside OUTPUT: a rename does not cross file systems.
trap 'rm -rf "$work"' EXIT

number() { # of a CRL in PEM
    local found
    found=$(openssl crl -in "$1" -noout -crlnumber)
    echo $((16#${found#crlNumber=0x}))
}

for name in root issuing; do
    curl --fail --silent --show-error --max-time 20 --max-filesize 100000000 \
        --output "$work/$name.der" "$base/pki/crl/$name.crl" || { say "$name: not reachable"; exit 1; }
    openssl crl -inform DER -in "$work/$name.der" -out "$work/$name.pem" || { say "$name: not a CRL"; exit 1; }
    # openssl says what it found, and exits with 0 either way.
    openssl crl -in "$work/$name.pem" -noout -CAfile "$trust" 2>&1 | grep -qx 'verify OK' \
        || { say "$name: not signed by a CA in $trust"; exit 1; }
    ends=$(openssl crl -in "$work/$name.pem" -noout -nextupdate)
    [ "$(date -d "${ends#nextUpdate=}" +%s)" -gt "$(date +%s)" ] || { say "$name: over since ${ends#*=}"; exit 1; }
    if [ -e "$output.$name" ] && [ "$(number "$work/$name.pem")" -lt "$(number "$output.$name")" ]; then
        say "$name: older than the one that is here"
        exit 1
    fi
done

cat "$work/root.pem" "$work/issuing.pem" > "$work/both.pem"
if ! cmp --silent "$work/both.pem" "$output"; then
    sync "$work"/*.pem
    mv "$work/both.pem" "$output"
fi
for name in root issuing; do mv "$work/$name.pem" "$output.$name"; done

# Noted only when the server took it: a reload that failed is tried again by the next run.
loaded=$(sha256sum < "$output")
if [ $# -gt 0 ] && [ "$loaded" != "$(cat "$output.loaded" 2> /dev/null)" ]; then
    "$@" || { say "$* failed"; exit 1; }
    echo "$loaded" > "$output.loaded"
fi
