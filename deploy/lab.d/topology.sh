# Interfaces, addresses, routes and neighbours of a lab. Sourced by deploy/lab.

# Locally administered, and the same in every lab, because labs share no link.
mac_client=02:53:57:00:00:01
mac_out=02:53:57:00:00:02
mac_in=02:53:57:00:00:03
mac_server=02:53:57:00:00:04
mac_edge2=02:53:57:00:00:05

# The source prefixes of `bench flood`, routed back to the client.
flood_sources="10.0.0.0/8 2001:db8:f::/48"

build_namespaces() {
    local role
    add_namespace client
    add_namespace edge
    add_namespace server
    if [ -n "$delay" ]; then add_namespace line; fi
    if [ "$arms" = one ]; then add_namespace switch; fi
    if [ "$edges" = two ]; then add_namespace edge2; fi
    for role in client edge edge2 server line switch; do
        exists "$role" || continue
        # Without duplicate address detection, router solicitations and redirects an address works at once, and only
        # what a test sends is on the link.
        sysctl_in "$role" net.ipv4.conf.{all,default}.rp_filter=0 net.ipv4.conf.{all,default}.send_redirects=0 \
            net.ipv4.conf.{all,default}.accept_redirects=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
    done
    for role in edge edge2; do
        if exists "$role"; then sysctl_in "$role" net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; fi
    done
    for role in line switch; do
        if exists "$role"; then sysctl_in "$role" net.ipv6.conf.{all,default}.disable_ipv6=1; fi
    done
}

build_path() {
    local mac_inside=$mac_in mac_outside=$mac_out inside=in0
    if [ "$arms" = none ]; then
        join client client0 "$mac_client" server server0 "$mac_server"
        # Each is the other's gateway.
        mac_outside=$mac_server mac_inside=$mac_client
    elif [ "$arms" = two ]; then
        join client client0 "$mac_client" edge out0 "$mac_out"
        join server server0 "$mac_server" edge in0 "$mac_in"
    else
        ip_in switch link add bridge0 type bridge stp_state 0 mcast_snooping 0
        ip_in switch link set bridge0 up
        veth edge out0 "$mac_out" switch edge
        join client client0 "$mac_client" switch client
        join server server0 "$mac_server" switch server
        if exists edge2; then veth edge2 out0 "$mac_edge2" switch edge2; fi
        for port in $(switch_ports); do ip_in switch link set "$port" master bridge0; done
        mac_inside=$mac_out inside=out0
    fi

    address client client0 198.51.100.2/24 2001:db8:c::2/64
    address server server0 192.0.2.10/24 2001:db8:5::10/64
    neighbour client client0 "$mac_outside" 198.51.100.1 2001:db8:c::1
    neighbour server server0 "$mac_inside" 192.0.2.1 2001:db8:5::1

    # Congestion control by route: a namespace may only choose what the host's tcp_allowed_congestion_control lists, and a
    # lab does not change the host.
    ip_in client route add default via 198.51.100.1 congctl "$cc_client"
    ip_in client -6 route add default via 2001:db8:c::1 congctl "$cc_client"
    ip_in server route add default via 192.0.2.1 congctl "$cc_server"
    ip_in server -6 route add default via 2001:db8:5::1 congctl "$cc_server"
    if [ "$return" = direct ]; then
        ip_in server route add 198.51.100.0/24 dev server0 src 192.0.2.10 congctl "$cc_server"
        ip_in server -6 route add 2001:db8:c::/64 dev server0 src 2001:db8:5::10 congctl "$cc_server"
        neighbour server server0 "$mac_client" 198.51.100.2 2001:db8:c::2
    fi
    if [ "$arms" != none ]; then connect_edge "$inside"; fi
    if exists edge2; then build_second_edge; fi
}

# connect_edge IF: addresses, neighbours and routes of an edge that reaches the server through IF.
connect_edge() {
    local inside=$1 prefix
    address edge out0 198.51.100.1/24 2001:db8:c::1/64
    address edge "$inside" 192.0.2.1/24 2001:db8:5::1/64
    neighbour edge out0 "$mac_client" 198.51.100.2 2001:db8:c::2
    neighbour edge "$inside" "$mac_server" 192.0.2.10 2001:db8:5::10
    for prefix in $flood_sources; do
        case $prefix in
            *:*) ip_in edge -6 route add "$prefix" via 2001:db8:c::2 ;;
            *) ip_in edge route add "$prefix" via 198.51.100.2 ;;
        esac
    done
}

# A second router with its own addresses: 198.51.100.3, 192.0.2.3 and so on.
build_second_edge() {
    address edge2 out0 198.51.100.3/24 2001:db8:c::3/64 192.0.2.3/24 2001:db8:5::3/64
    neighbour edge2 out0 "$mac_client" 198.51.100.2 2001:db8:c::2
    neighbour edge2 out0 "$mac_server" 192.0.2.10 2001:db8:5::10
    neighbour client client0 "$mac_edge2" 198.51.100.3 2001:db8:c::3
    neighbour server server0 "$mac_edge2" 192.0.2.3 2001:db8:5::3
    ip_in edge2 route add 10.0.0.0/8 via 198.51.100.2
    ip_in edge2 -6 route add 2001:db8:f::/48 via 2001:db8:c::2
}

switch_ports() {
    echo edge client server
    if exists edge2; then echo edge2; fi
}

# join HOST IF MAC ROLE IF [MAC]: links a host to edge or switch, through the delay line if there is one.
join() {
    if [ -n "$delay" ] && [ "$delay_side" = "$1" ]; then
        veth "$1" "$2" "$3" line near
        veth "$4" "$5" "${6:-}" line far
    else
        veth "$1" "$2" "$3" "$4" "$5" "${6:-}"
    fi
}

# veth ROLE IF MAC ROLE IF [MAC]
veth() {
    local many="numrxqueues $queues numtxqueues $queues"
    # shellcheck disable=SC2086
    ip_in "$1" link add "$2" ${3:+address $3} $many type veth \
        peer name "$5" netns "$(namespace "$4")" ${6:+address $6} $many
    plug "$1" "$2"
    plug "$4" "$5"
}

# A checksum left to the hardware is wrong after a redirect in XDP, and XDP must see single frames, not merged ones.
plug() {
    nsenter --net="/run/netns/$(namespace "$1")" -- ethtool -K "$2" tx off tso off gro off >/dev/null
    case $1 in
        client | server) queue_up "$1" "$2" ;;
        *) nsenter --net="/run/netns/$(namespace "$1")" -- ethtool -K "$2" gso off >/dev/null ;;
    esac
    ip_in "$1" link set "$2" up
}

# What a host sends waits in a queueing discipline, as on any NIC. A veth without one reports a full ring to TCP, which takes
# that for local congestion: it retries every half second, and gives up after fifteen tries (TCP_RESOURCE_PROBE_INTERVAL in
# net/ipv4/tcp_timer.c), whereas a segment lost on the link is retransmitted for a quarter of an hour.
queue_up() {
    [ "$qdisc" = yes ] || return 0
    local discipline=mq
    [ "$queues" != 1 ] || discipline=pfifo
    nsenter --net="/run/netns/$(namespace "$1")" -- tc qdisc replace dev "$2" root $discipline
}

address() {
    local role=$1 device=$2 address
    shift 2
    for address; do
        case $address in
            *:*) ip_in "$role" -6 address add "$address" dev "$device" nodad ;;
            *) ip_in "$role" address add "$address" dev "$device" ;;
        esac
    done
}

neighbour() {
    local role=$1 device=$2 mac=$3 address
    shift 3
    for address; do ip_in "$role" neighbour replace "$address" lladdr "$mac" dev "$device" nud permanent; done
}

# A frame that XDP transmits on a veth arrives only if the other end has an XDP program too. synward is the edge's.
attach_pass() {
    enter client "$bench" pass --interface client0
    enter server "$bench" pass --interface server0
    if exists switch; then
        for port in $(switch_ports); do enter switch "$bench" pass --interface "$port"; done
    fi
    if exists line; then
        for port in near far; do enter line "$bench" pass --interface "$port"; done
    fi
}

start_line() {
    enter line setsid "$bench" delay --near near --far far --delay-ms "$delay" --loss "$loss" --reorder "$reorder" \
        >"$state/line.log" 2>&1 &
    wait_for "the delay line" "$state/line.log" grep -q ready "$state/line.log"
}

# wait_for WHAT LOG CMD…: polls CMD for a minute.
wait_for() {
    local what=$1 log=$2 deadline=$((SECONDS + 60))
    shift 2
    until "$@" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then
            cat "$log" >&2 2>/dev/null || true
            die "$what did not start within a minute (its log is above)"
        fi
        sleep 0.05
    done
}
