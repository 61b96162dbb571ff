# Which Python the virtual environment is made from. Sourced by scripts/setup.sh; sets $python and $python_version.
# shellcheck shell=bash

# Started as root, each service runs as a user of its own, and an interpreter beneath root's home (pyenv, say) is out
# of those users' reach: every folder up to the interpreter and up to its library must let others pass.
reachable_by_others() {
    local path mode
    path=$(readlink -f "$1")
    while :; do
        mode=$(stat -c %a "$path")
        (( 8#$mode & 1 )) || return 1
        [ "$path" = / ] && return 0
        path=$(dirname "$path")
    done
}

# Prints "<3.x> <executable> <base prefix>" for an interpreter that is new enough.
describe_interpreter() {
    "$1" -c 'import sys
if sys.version_info < (3, 11): sys.exit(1)
print("%d.%d" % sys.version_info[:2], sys.executable, sys.base_prefix)' 2>/dev/null
}

find_interpreter() {
    local candidate version executable prefix fallback=""
    # The environment that stands is good as long as its interpreter is; venv.sh decides about the rest.
    if [ -x "$venv/bin/python" ] && [ -r "$venv/.interpreter" ]; then
        read -r python_version python < "$venv/.interpreter"
        [ "$(readlink -f "$venv/bin/python")" = "$python" ] && return 0
    fi
    for candidate in /usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3 /usr/local/bin/python3.1[1-9] \
        /opt/*/bin/python3 $(type -ap python3 python3.{13,12,11,14,15}); do
        [ -x "$candidate" ] || continue
        read -r version executable prefix <<< "$(describe_interpreter "$candidate")"
        [ -n "$version" ] || continue
        # A shim is a shell script somewhere else: what counts is the interpreter that answered.
        executable=$(readlink -f "$executable")
        if ! is_root || { reachable_by_others "$executable" && reachable_by_others "$prefix"; }; then
            python_version=$version python=$executable
            return 0
        fi
        [ -n "$fallback" ] || fallback="$version $executable"
    done
    [ -n "$fallback" ] || fail "no Python of 3.11 or newer found; install one (python3 on Debian 12 is enough)"
    read -r python_version python <<< "$fallback"
    say "Python $python_version at $python cannot be reached by other users: services that get a system user of" \
        "their own will not start with it; a Python under /usr/bin would do"
}
