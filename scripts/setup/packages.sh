# System packages. Sourced by scripts/setup.sh; asks apt for nothing that is there already.
# shellcheck shell=bash

lacks_command() { ! command -v "$1" > /dev/null; }
lacks_file() { ! compgen -G "$1" > /dev/null; }

# Prints the packages that are missing, one a line, by looking for what each of them brings: the tool may as well have
# come another way.
missing_packages() {
    if lacks_command softhsm2-util; then echo softhsm2; fi
    # Debian splits ensurepip off the interpreter; other builds bring it along.
    if [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        echo "python$python_version-venv"
    fi
    if [ "$what" = test ]; then
        if lacks_command git; then echo git; fi
        if lacks_command openssl; then echo openssl; fi
        if lacks_command chromium; then echo chromium; fi
        # The driver that Playwright brings along is linked against it.
        if lacks_file '/usr/lib/*/libatomic.so.1'; then echo libatomic1; fi
        if lacks_command node; then echo nodejs; fi
        if lacks_command npm; then echo npm; fi
        if lacks_file '/usr/lib/postgresql/*/bin/initdb'; then echo postgresql; fi
        if lacks_file '/usr/lib/*/libsoftokn3.so'; then echo libnss3; fi
        relying_packages
    fi
}

# What myCert's certificates are shown to by the tests (docs/relying-services/).
relying_packages() {
    # Servers lie in sbin, where an ordinary user's shell does not look.
    local PATH=$PATH:/usr/sbin:/sbin
    if lacks_command nginx; then echo nginx; fi
    if lacks_command apache2; then echo apache2; fi
    if lacks_command haproxy; then echo haproxy; fi
    if lacks_command stunnel4; then echo stunnel4; fi
    if lacks_command javac; then echo default-jdk-headless; fi
    if lacks_file /usr/share/java/wss4j.jar; then echo libwss4j-java; fi
    if lacks_command ocsptool || lacks_command certtool; then echo gnutls-bin; fi
    if lacks_command certutil || lacks_command pk12util; then echo libnss3-tools; fi
    if lacks_command xmlsec1; then echo xmlsec1; fi
    if lacks_command curl; then echo curl; fi
    if lacks_command jq; then echo jq; fi
    if lacks_command sqlite3; then echo sqlite3; fi
    # For make bench.
    if lacks_command wrk; then echo wrk; fi
    if lacks_command cfssl; then echo golang-cfssl; fi
}

install_packages() {
    local missing as_root=()
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "missing system packages: ${missing[*]}"
    command -v apt-get > /dev/null || fail "no apt-get here: install what matches those packages, then run this again"
    if ! is_root; then
        command -v sudo > /dev/null || fail "neither root nor sudo: have somebody run: apt-get install ${missing[*]}"
        # Where nobody is there to type a password, sudo must not wait for one.
        if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
        "${as_root[@]}" true || fail "sudo refused: have somebody run: apt-get install ${missing[*]}"
    fi
    # A package's service (nginx's, PostgreSQL's) is not started, for the tests start servers of their own: by
    # RUNLEVEL=1 where no systemd runs, by a policy of ours (invoke-rc.d(8)) where one does and no other stands.
    local policy=/usr/sbin/policy-rc.d
    if [ "$what" = test ] && [ ! -e $policy ]; then
        # shellcheck disable=SC2064 # what as_root holds now
        trap "$(printf '%q ' "${as_root[@]}" rm -f $policy)" EXIT
        "${as_root[@]}" install -m 755 /dev/stdin $policy <<< $'#!/bin/sh\nexit 101'
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1)
    local log
    log=$(mktemp)
    say "apt-get update"
    "${as_root[@]}" apt-get update -qq &> "$log" || { cat "$log" >&2; say "going on with the lists that are there"; }
    say "apt-get install ${missing[*]}"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" < /dev/null 2>&1 \
        | tee "$log" | awk '/^Setting up /{ print "set-up:   " $3 " " $4; fflush() }' \
        || { tail -n 20 "$log" >&2; fail "apt-get could not install ${missing[*]}"; }
    rm -f "$log"
}
