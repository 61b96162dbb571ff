# The virtual environment in .venv and the launcher bin/mycert. Sourced by scripts/setup.sh.
# shellcheck shell=bash
#
# A stamp beside the installed packages holds the hash of what they were installed from. It is written last: an
# installation that was interrupted has none and is done again.

# True where stamp $1 holds the hash $2.
stamped() { [ -r "$venv/.stamp-$1" ] && [ "$(< "$venv/.stamp-$1")" = "$2" ]; }

# pip names each package as it comes to it; of some sixty, every tenth is news enough.
count_packages() {
    awk -v total="$1" '/^(Collecting|Processing) /{ if (++n % 10 == 0) { print "set-up:   " n " of " total; fflush() } }'
}

# Nothing but locked wheels: a source package would run its own build here, with whatever that downloads.
install_locked() {
    local total log=$venv/install.log
    total=$(cat "$@" | grep -c '^[a-z].*==')
    say "installing $total locked packages: $*"
    "$venv/bin/python" -m pip install --require-hashes --only-binary :all: --no-input --no-color --progress-bar off \
        --disable-pip-version-check "${@/#/--requirement=}" 2>&1 | tee "$log" | count_packages "$total" \
        || { tail -n 20 "$log" >&2; fail "pip could not install the locked packages"; }
}

build_venv() {
    local base dev project
    # The path is an input as well: scripts and the link to the sources hold it, so a checkout that moved starts anew.
    base=$(cat requirements/build.txt requirements/runtime.txt scripts/setup/venv.sh <(echo "$root $python") | sha256sum)
    project=$(cat pyproject.toml requirements/runtime.in | sha256sum)
    dev=$(sha256sum < requirements/dev.txt)

    if ! stamped base "$base"; then
        say "virtual environment .venv with Python $python_version ($python)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        install_locked requirements/build.txt requirements/runtime.txt
        echo "$python_version $python" > "$venv/.interpreter"
        echo "$base" > "$venv/.stamp-base"
    fi
    if ! stamped project "$project" || [ ! -x bin/mycert ]; then
        say "installing mycert itself; launcher bin/mycert"
        # A plain path entry, which costs nothing at start, instead of an import hook.
        "$venv/bin/python" -m pip install --quiet --no-index --no-deps --no-build-isolation --no-input \
            --disable-pip-version-check --config-settings editable_mode=compat --editable .
        write_launcher
        echo "$project" > "$venv/.stamp-project"
    fi
    if [ "$what" = test ] && ! stamped dev "$dev"; then
        # What the two locks share has one version: dev.in is locked under runtime.txt's constraints.
        install_locked requirements/dev.txt
        echo "$dev" > "$venv/.stamp-dev"
    fi
    if [ "$what" = test ]; then install_jdks; fi
}

# One environment holds one version of a package, so each Java has a folder of its own.
install_jdks() {
    local number lock
    for number in 11 25; do
        lock=$(sha256sum < "requirements/jdk-$number.txt")
        stamped "jdk-$number" "$lock" && continue
        say "Java $number"
        "$venv/bin/python" -m pip install --quiet --require-hashes --only-binary :all: --no-deps --no-input \
            --disable-pip-version-check --upgrade --target "$venv/jdk-$number" --requirement "requirements/jdk-$number.txt"
        echo "$lock" > "$venv/.stamp-jdk-$number"
    done
}

# bin/mycert works from any folder and, like `make demo`, on the demo's data unless MYCERT_HOME says otherwise.
write_launcher() {
    mkdir -p bin
    cat > bin/.mycert.new << LAUNCHER
#!/bin/sh
# Written by scripts/setup/venv.sh.
export MYCERT_HOME="\${MYCERT_HOME:-$root/var/demo}"
exec "$venv/bin/mycert" "\$@"
LAUNCHER
    chmod 755 bin/.mycert.new
    mv bin/.mycert.new bin/mycert
}
