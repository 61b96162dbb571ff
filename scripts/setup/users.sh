# The system users of the services. Sourced by scripts/setup.sh, when root; adds what is missing, takes nothing away.
# shellcheck shell=bash
#
# Each has a group of its own, so that nothing is shared by accident. All are in mycert, which may reach what the
# processes share; those that write the registry's database are also in mycert-registry.

registry_writers=(mycert-issuer mycert-publisher mycert-mailer)
service_users=(mycert-web mycert-status mycert-demo "${registry_writers[@]}")

create_users() {
    ensure_group mycert "${service_users[@]}"
    ensure_group mycert-registry "${registry_writers[@]}"
}

# $1 group, then its members, which are created where they are missing.
ensure_group() {
    local group=$1 entry user
    shift
    if ! getent group "$group" > /dev/null; then
        say "system group $group"
        groupadd --system "$group"
    fi
    # One look for all users: none is missing in the usual case.
    if ! getent passwd "$@" > /dev/null; then
        for user in "$@"; do
            getent passwd "$user" > /dev/null && continue
            say "system user $user"
            useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
        done
    fi
    entry=$(getent group "$group")
    for user in "$@"; do
        case ",${entry##*:}," in
            *",$user,"*) ;;
            *) usermod --append --groups "$group" "$user" ;;
        esac
    done
}
