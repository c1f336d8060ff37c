# Creates, enters and removes the namespaces of a lab. Sourced by deploy/lab.
# Expects $name and $state.

# In `away` are interfaces that a story has taken from the others.
roles="client line switch edge edge2 server away"

namespace() { echo "sw-$name-$1"; }

exists() { [[ " $roles " == *" $1 "* ]] && [ -e "/run/netns/$(namespace "$1")" ]; }

existing_roles() {
    local role found=''
    for role in $roles; do if exists "$role"; then found+=" $role"; fi; done
    echo "${found:- none}"
}

# Those of which something is left, complete or not.
list_labs() {
    local role path
    for role in $roles; do
        for path in /run/netns/sw-*-"$role"; do
            [ -e "$path" ] || continue
            path=${path##*/sw-}
            echo "${path%-"$role"}"
        done
    done | sort -u
}

# ip(8) inside a role's namespace. `ip -n` and `ip netns exec` fail in a chroot whose root is not a mount point.
ip_in() {
    local role=$1
    shift
    nsenter --net="/run/netns/$(namespace "$role")" -- ip "$@"
}

# Runs a command in a role's namespace, with the namespace's /sys and the lab's own bpf file system at /sys/fs/bpf: labs do
# not share pins, and pins are removed with their lab.
enter() {
    local role=$1
    shift
    nsenter --net="/run/netns/$(namespace "$role")" -- \
        unshare --mount --propagation unchanged -- sh -c '
            mount --make-rslave /sys && mount -t sysfs sysfs /sys && mount --bind "$1" /sys/fs/bpf &&
            shift && exec "$@"' lab "$state/bpf" "$@"
}

sysctl_in() {
    local role=$1
    shift
    nsenter --net="/run/netns/$(namespace "$role")" -- sysctl -q -w "$@"
}

add_namespace() {
    ip netns add "$(namespace "$1")"
    ip_in "$1" link set lo up
}

# Ends every process of a namespace; all of them belong to the lab.
stop_processes() {
    exists "$1" || return 0
    local pids tries
    for tries in $(seq 600); do
        pids=$(ip netns pids "$(namespace "$1")")
        [ -n "$pids" ] || return 0
        # SIGTERM first; SIGKILL after half a second.
        # shellcheck disable=SC2086
        if [ "$tries" = 1 ]; then
            kill $pids 2>/dev/null || true
        elif [ "$tries" -gt 10 ]; then
            kill -9 $pids 2>/dev/null || true
        fi
        sleep 0.05
    done
    echo "lab: processes in $(namespace "$1") cannot be ended: $pids" >&2
}

# Deleting one end of a veth deletes both at once; the namespace itself may remain until its last socket closes.
remove_namespace() {
    exists "$1" || return 0
    local device
    for device in $(ip_in "$1" -o link show type veth | sed 's/^[0-9]*: \([^@:]*\).*/\1/'); do
        ip_in "$1" link delete "$device" 2>/dev/null || true
    done
    ip netns delete "$(namespace "$1")"
}
