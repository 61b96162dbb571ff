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
        if lacks_file '/usr/lib/postgresql/*/bin/initdb'; then echo postgresql; fi
        if lacks_file '/usr/lib/*/libsoftokn3.so'; then echo libnss3; fi
    fi
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
    # RUNLEVEL=1 keeps a package's service (PostgreSQL's, say) from being started where no systemd runs; the tests
    # start servers of their own.
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
