# The system users of the services. Sourced by scripts/setup.sh, when root; creates what is missing, changes nothing else.
#
# All are in the group mycert, which may reach what the processes share; those that write the registry database are
# also in mycert-registry.

registry_writers="mycert-issuer mycert-publisher mycert-mailer"
service_users="mycert-web mycert-status mycert-demo $registry_writers"

create_users() {
    local user
    if ! getent group mycert > /dev/null; then say "system group mycert"; groupadd --system mycert; fi
    if ! getent group mycert-registry > /dev/null; then
        say "system group mycert-registry"
        groupadd --system mycert-registry
    fi
    for user in $service_users; do
        getent passwd "$user" > /dev/null && continue
        say "system user $user"
        useradd --system --gid mycert --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    done
    for user in $registry_writers; do
        case ",$(getent group mycert-registry | cut -d: -f4)," in
            *",$user,"*) ;;
            *) usermod --append --groups mycert-registry "$user" ;;
        esac
    done
}
