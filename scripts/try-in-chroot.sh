#!/usr/bin/env bash
# Tries a make target on a machine that has nothing: a minimal Debian or Ubuntu in a folder, with python3, git and make.
#
#   scripts/try-in-chroot.sh [--suite bookworm] [--mirror ADDRESS] [--user] [--keep] [make target and variables …]
#
# For developers, by hand, as root, with debootstrap. It runs a clean clone of HEAD; what is not committed is not there.
#   --user   as an ordinary user without sudo: shows that set-up names what is missing, has root install exactly
#            that, and then runs the target
#   --keep   leave the folder behind, and say where it is
# The minimal system is made once and kept in the user's cache; each run works on a copy of it.
set -euo pipefail
umask 022

fail() { echo "$*" >&2; exit 1; }
suite=bookworm mirror="" as_user="" keep=""
while [ $# -gt 0 ]; do
    case $1 in
        --suite) suite=$2; shift 2 ;;
        --mirror) mirror=$2; shift 2 ;;
        --user) as_user=yes; shift ;;
        --keep) keep=yes; shift ;;
        -*) fail "unknown option $1" ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- test

[ "$EUID" -eq 0 ] || fail "needs root: it makes a chroot"
command -v debootstrap > /dev/null || fail "needs debootstrap"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
pristine=${XDG_CACHE_HOME:-$HOME/.cache}/mycert-chroot/$suite

# How packages are reached is this machine's affair: what it has configured is taken over as it is (apt's sources
# only where they are for the same system).
copy_configuration() {
    local into=$1 path apt=""
    [ "$suite" != "$(. /etc/os-release; echo "${VERSION_CODENAME:-}")" ] || apt=/etc/apt
    for path in $apt /etc/ssl/certs /usr/local/share/ca-certificates /etc/resolv.conf /etc/hosts /etc/pip.conf; do
        [ -e "$path" ] || continue
        rm -rf "${into:?}$path"
        mkdir -p "$into$(dirname "$path")"
        cp -rL "$path" "$into$path" 2> /dev/null || [ -e "$into$path" ]
    done
}

if [ ! -e "$pristine" ]; then
    if [ -z "$mirror" ]; then
        mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' \
            | awk -v suite="$suite" '$1 == suite { print $2; exit }')
        [ -n "$mirror" ] || fail "this machine's apt has no source for $suite: give --mirror"
    fi
    echo "== a minimal $suite in $pristine"
    rm -rf --one-file-system "$pristine.new"
    mkdir -p "$pristine.new"
    # In namespaces of its own, as below: what it mounts is gone when it ends, however it ends.
    unshare --mount --pid --fork --kill-child -- debootstrap --variant=minbase --include=python3,git,make,ca-certificates "$suite" "$pristine.new" "$mirror" \
        | awk '!/^I: / || ++n % 100 == 0 { print "   " $0; fflush() }'
    mv "$pristine.new" "$pristine"
fi

copy=$(mktemp -d "${TMPDIR:-/tmp}/mycert-chroot-XXXXXX")
[ -n "$keep" ] || trap 'trap "" TERM INT HUP; rm -rf --one-file-system "$copy"' EXIT
trap 'exit 143' TERM INT HUP
chmod 755 "$copy"
cp -a --reflink=auto "$pristine/." "$copy/"
copy_configuration "$copy"
# A name that no file can hold already: the tests look for the checkout's path in its files.
place=/srv/$(basename "$copy")
git clone -q --no-hardlinks "$root" "$copy$place"

# In namespaces of its own: when the last process has ended the mounts are gone, and no process is left behind.
inside() {
    local passed
    mapfile -t passed < <(env | grep -E '^(PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|SSL_CERT_(FILE|DIR)|([a-z]+_proxy|[A-Z]+_PROXY)|CI|MYCERT_[A-Z_]+)=')
    # pivot_root, as containers do: from a plain chroot a process that changes its mount namespace gets out. And bash
    # stays, to reap what is left to it.
    unshare --mount --pid --fork --kill-child -- bash -euc '
        cd "$1"; shift
        mount --bind . .
        cd "$PWD"
        mount -t proc proc proc
        mount --rbind /dev dev
        mount -t tmpfs tmpfs run
        mkdir run/host
        pivot_root . run/host
        umount -l /run/host
        env -i "$@"; exit' inside "$copy" \
        HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${passed[@]}" "$@"
}

status=0
if [ -z "$as_user" ]; then
    echo "== as root: make $*"
    inside make -C $place "$@" || status=$?
else
    inside useradd --create-home developer
    inside chown -R developer $place
    echo "== as a user without sudo: set-up must stop and name what is missing"
    said=$copy/root/said
    if inside setpriv --reuid=developer --regid=developer --init-groups env HOME=/home/developer \
        make -C $place setup-test 2>&1 | tee "$said"; then fail "it did not stop"; fi
    read -r -a missing <<< "$(sed -n 's/.*: apt-get install //p' "$said")"
    [ ${#missing[@]} -gt 0 ] || fail "it named no packages"
    echo "== as root: apt-get install ${missing[*]}"
    printf '#!/bin/sh\nexit 101\n' > "$copy/usr/sbin/policy-rc.d"
    chmod 755 "$copy/usr/sbin/policy-rc.d"
    inside sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"' \
        install "${missing[@]}" > /dev/null
    echo "== as that user: make $*"
    inside setpriv --reuid=developer --regid=developer --init-groups env HOME=/home/developer \
        make -C $place "$@" || status=$?
fi
[ -z "$keep" ] || echo "== left in $copy"
echo "== exit status $status"
exit "$status"
