#!/usr/bin/env bash
#
# Records the bundled demo captures from real programs.
#
#   record.sh [OUTPUT_DIR]            record everything into OUTPUT_DIR, then write
#                                     the facts and run the checks (about 4 minutes)
#   record.sh --facts [OUTPUT_DIR]    only rewrite demo.expected.json
#   record.sh --check [OUTPUT_DIR]    only run the checks on the files
#
# OUTPUT_DIR defaults to the folder of this script.
# Recording needs root on Debian 12. It installs the packages it lacks, builds a
# small network out of network namespaces, and removes that network when it ends.
# It does not touch the network of the machine. See README.md for the topology.

set -euo pipefail
export LC_ALL=C
export PATH=$PATH:/usr/sbin:/sbin
umask 022

MODE=record
case "${1:-}" in
--facts) MODE=facts; shift ;;
--check) MODE=check; shift ;;
-h | --help) sed -n '3,14p' "$0"; exit 0 ;;
-*) echo "unknown option: $1" >&2; exit 2 ;;
esac
OUT=${1:-$(dirname "$(readlink -f "$0")")}

PREFIX=fhdemo                       # every namespace is called fhdemo-<host>
PY=/usr/bin/python3                 # Debian's own Python: it has the Debian modules
FILES=(demo.pcap demo.pcapng demo-ns.pcap ping6-vlan.pcap ping-cooked.pcap)
RUN_SECONDS=168                     # length of the recording

W=$(mktemp -d "${TMPDIR:-/tmp}/$PREFIX.XXXXXX")   # work folder: configs, keys, logs
chmod 755 "$W"
mkdir -p "$W/home" "$W/log" "$W/wireshark"
export WIRESHARK_CONFIG_DIR=$W/wireshark          # no personal tshark preferences
PIDS=()
HOSTS=()
MADE_POLICY=0
MADE_RUN_SSHD=0
MADE_ETC_NETNS=0

say() { printf '%s\n' "$*" >&2; }

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    local pid host
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null; done
    [ "${#PIDS[@]}" -gt 0 ] && sleep 1
    # Helper processes of the servers (workers, sessions) that still live in our namespaces.
    for host in "${HOSTS[@]}"; do
        for pid in $(ip netns pids "$PREFIX-$host" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
    done
    { wait; } 2>/dev/null
    for host in "${HOSTS[@]}"; do
        ip netns del "$PREFIX-$host" 2>/dev/null
        rm -rf "/etc/netns/$PREFIX-$host"
    done
    [ "$MADE_ETC_NETNS" = 1 ] && rmdir /etc/netns 2>/dev/null
    [ "$MADE_POLICY" = 1 ] && rm -f /usr/sbin/policy-rc.d
    [ "$MADE_RUN_SSHD" = 1 ] && rmdir /run/sshd 2>/dev/null
    if [ "$status" -ne 0 ] && [ "$MODE" = record ]; then
        say "failed with status $status; last lines of the logs:"
        tail -n 5 "$W"/log/* >&2 2>/dev/null
    fi
    rm -rf "$W"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---------------------------------------------------------------- packages

PACKAGES=(aiosmtpd:python3-aiosmtpd pyftpdlib:python3-pyftpdlib
    ip:iproute2 ethtool:ethtool tcpdump:tcpdump tshark:tshark editcap:wireshark-common
    dnsmasq:dnsmasq-base dig:bind9-dnsutils nmap:nmap busybox:busybox
    sshd:openssh-server ssh:openssh-client ping:iputils-ping curl:curl wget:wget
    openssl:openssl nginx:nginx-light msmtp:msmtp
    mosquitto:mosquitto mosquitto_sub:mosquitto-clients
    hostname:hostname unshare:util-linux sysctl:procps
    lib:libgnutls30 lib:libnettle8 lib:libcap2 lib:libseccomp2)
CHRONYD=/usr/sbin/chronyd

install_packages() {
    local entry missing=()
    [ -x "$PY" ] || missing+=(python3)
    for entry in "${PACKAGES[@]}"; do
        case "$entry" in
        *:python3-* | lib:*) dpkg -s "${entry#*:}" >/dev/null 2>&1 || missing+=("${entry#*:}") ;;
        *) command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}") ;;
        esac
    done
    if [ "${#missing[@]}" -gt 0 ]; then install_missing "${missing[@]}"; fi
    # The chrony package would push out the machine's own time service,
    # so its program is only unpacked into the work folder.
    if [ ! -x "$CHRONYD" ]; then
        (cd "$W" && apt-get download -q chrony >/dev/null 2>&1 && dpkg-deb -x chrony_*.deb chrony)
        CHRONYD=$W/chrony/usr/sbin/chronyd
    fi
}

install_missing() {
    say "installing: $*"
    # Packages such as nginx would start a system service; this keeps them from it.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        MADE_POLICY=1
    fi
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --no-remove "$@" >&2
}

# ---------------------------------------------------------------- topology

# on HOST COMMAND...: runs a command on a host of the demo network, with the
# host's own name and an empty environment (no proxy settings of this machine).
on() {
    local host=$1
    shift
    ip netns exec "$PREFIX-$host" env -i PATH="$PATH" HOME="$W/home" LC_ALL=C TMPDIR="$W" \
        unshare --uts sh -c 'hostname "$0"; exec "$@"' "$host" "$@"
}

# spawn HOST COMMAND...: the same, left running until the end. Its pid is LAST_PID.
spawn() {
    local host=$1
    shift
    (
        exec ip netns exec "$PREFIX-$host" env -i PATH="$PATH" HOME="$W/home" LC_ALL=C TMPDIR="$W" \
            unshare --uts sh -c 'hostname "$0"; exec "$@"' "$host" "$@"
    ) </dev/null >>"$W/log/$host.log" 2>&1 &
    LAST_PID=$!
    PIDS+=("$LAST_PID")
}

# wirelike HOST DEVICE: no offloads, so that frames look as they do on a wire:
# full checksums, at most 1500 bytes of payload, VLAN tags inside the frame.
wirelike() {
    local feature
    for feature in tso gso gro tx rx txvlan rxvlan; do
        ip netns exec "$PREFIX-$1" ethtool -K "$2" "$feature" off >/dev/null 2>&1 || true
    done
}

host() { # host NAME [DNS_SERVER]
    local etc=/etc/netns/$PREFIX-$1
    HOSTS+=("$1")
    ip netns add "$PREFIX-$1"
    ip -n "$PREFIX-$1" link set lo up
    # Hosts take only the addresses given below, never one from a router advertisement.
    ip netns exec "$PREFIX-$1" sysctl -qw net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
    # "ip netns exec" puts these files in the place of the machine's own ones.
    mkdir -p "$etc"
    printf '127.0.0.1 localhost\n127.0.1.1 %s.demo.example %s\n' "$1" "$1" >"$etc/hosts"
    printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n' >"$etc/nsswitch.conf"
    if [ -n "${2:-}" ]; then printf 'nameserver %s\n' "$2" >"$etc/resolv.conf"; else : >"$etc/resolv.conf"; fi
}

cable() { # cable HOST_A DEVICE_A HOST_B DEVICE_B [MAC_A]
    ip -n "$PREFIX-$1" link add "$2" ${5:+address "$5"} type veth peer name "$4" netns "$PREFIX-$3"
    wirelike "$1" "$2"
    wirelike "$3" "$4"
    ip -n "$PREFIX-$3" link set "$4" up
}

switch() { # switch NAME: a host that is only a bridge
    host "$1"
    ip netns exec "$PREFIX-$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    ip -n "$PREFIX-$1" link add br0 type bridge stp_state 0 mcast_snooping 0
    ip -n "$PREFIX-$1" link set br0 up
}

plug() { # plug HOST SWITCH MAC ADDRESS... : the host's eth0 goes into the switch
    local name=$1 sw=$2 mac=$3 address
    shift 3
    cable "$name" eth0 "$sw" "p-$name" "$mac"
    ip -n "$PREFIX-$sw" link set "p-$name" master br0
    ip -n "$PREFIX-$name" link set eth0 up
    for address in "$@"; do ip -n "$PREFIX-$name" addr add "$address" dev eth0; done
}

gateway() { # gateway HOST IPV4 [IPV6]
    ip -n "$PREFIX-$1" route add default via "$2"
    if [ -n "${3:-}" ]; then ip -n "$PREFIX-$1" -6 route add default via "$3"; fi
}

# A long-distance line: passes every frame on after a fixed delay.
write_programs() {
    cat >"$W/line.py" <<'PYTHON'
import collections, select, socket, sys, time
names, delay = sys.argv[1:3], float(sys.argv[3]) / 1000
ends = []
for name in names:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # every protocol
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((name, 3))
    # PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC
    s.setsockopt(263, 1, socket.if_nametoindex(name).to_bytes(4, sys.byteorder) + b"\x01\0" + bytes(10))
    ends.append(s)
queue = collections.deque()
while True:
    wait = max(0, queue[0][0] - time.monotonic()) if queue else None
    for s in select.select(ends, [], [], wait)[0]:
        frame, address = s.recvfrom(2048)
        if address[2] != 4:  # 4: a frame that this program has sent itself
            queue.append((time.monotonic() + delay, ends[s is ends[0]], frame))
    while queue and queue[0][0] <= time.monotonic():
        _, end, frame = queue.popleft()
        end.send(frame)
PYTHON
    # An 802.1Q sub-interface for kernels that have no 8021q driver: a tap device whose
    # frames get the tag on their way out of the parent device, and lose it on the way in.
    cat >"$W/vlan.py" <<'PYTHON'
import fcntl, os, select, socket, struct, sys
parent, name, vid = sys.argv[1], sys.argv[2], int(sys.argv[3])
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))  # TUNSETIFF, TAP|NO_PI
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel hands over the received tag there
s.bind((parent, 3))
while True:
    for ready in select.select([tap, s], [], [])[0]:
        if ready == tap:
            frame = os.read(tap, 2048)
            s.send(frame[:12] + struct.pack("!HH", 0x8100, vid) + frame[12:])
            continue
        frame, extra, _, address = s.recvmsg(2048, 128)
        if address[2] == 4:  # sent by this host
            continue
        for level, kind, data in extra:
            if (level, kind) == (263, 8):
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
                if status & 0x10 and tci & 0xFFF == vid:  # TP_STATUS_VLAN_VALID
                    try:
                        os.write(tap, frame)
                    except OSError:  # the tap is not up yet
                        pass
PYTHON
    # Opens a connection, sends half a request and resets the connection.
    cat >"$W/reset.py" <<'PYTHON'
import socket, struct, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b"GET /slow HTTP/1.1\r\nHost: www.shop.example\r\nX-Unfinished: ")
time.sleep(0.4)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()
PYTHON
}

# vlan HOST PARENT VID: makes PARENT.VID on the host.
vlan() {
    local dev=$2.$3 mac try
    if ! ip -n "$PREFIX-$1" link add link "$2" name "$dev" type vlan id "$3" 2>/dev/null; then
        say "no 8021q driver in this kernel: $1 uses the tap stand-in for $dev"
        spawn "$1" "$PY" "$W/vlan.py" "$2" "$dev" "$3"
        for try in $(seq 50); do
            ip -n "$PREFIX-$1" link show "$dev" >/dev/null 2>&1 && break
            sleep 0.1
        done
        mac=$(ip netns exec "$PREFIX-$1" cat "/sys/class/net/$2/address")
        ip -n "$PREFIX-$1" link set "$dev" address "$mac"
    fi
    wirelike "$1" "$dev"
    ip -n "$PREFIX-$1" link set "$dev" up
}

build_network() {
    local name
    if ip netns list | grep -q "^$PREFIX-"; then
        say "namespaces called $PREFIX-* exist already: is another recording running?"
        exit 1
    fi
    [ -d /etc/netns ] || MADE_ETC_NETNS=1
    write_programs

    # Local side: a switch, its hosts, and the router's port lan0.
    switch lan
    host router
    ip netns exec $PREFIX-router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
    cable router lan0 lan p-router 02:00:0a:00:00:01
    ip -n $PREFIX-lan link set p-router master br0
    ip -n $PREFIX-router link set lan0 up
    ip -n $PREFIX-router addr add 192.168.10.1/24 dev lan0
    ip -n $PREFIX-router addr add fd00:10::1/64 dev lan0 nodad

    host anna 192.168.10.1
    plug anna lan 02:00:0a:00:00:11 192.168.10.11/24 fd00:10::11/64
    host ben 192.168.10.1
    plug ben lan 02:00:0a:00:00:12 192.168.10.12/24 fd00:10::12/64
    host nas 192.168.10.1
    plug nas lan 02:00:0a:00:00:20 192.168.10.20/24 fd00:10::20/64
    host tv 192.168.10.1
    plug tv lan 02:00:0a:00:00:30 192.168.10.30/24 fd00:10::30/64
    host tablet 192.168.10.1
    plug tablet lan 02:00:0a:00:00:65            # its address comes by DHCP
    ip -n $PREFIX-tablet link set eth0 down
    for name in anna ben nas tv; do gateway $name 192.168.10.1 fd00:10::1; done

    # The camera sits in VLAN 42 on the same switch.
    host camera 192.168.42.1
    plug camera lan 02:00:0a:00:00:42
    ip netns exec $PREFIX-camera sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1
    vlan router lan0 42
    vlan camera eth0 42
    ip -n $PREFIX-router addr add 192.168.42.1/24 dev lan0.42
    ip -n $PREFIX-router addr add fd00:42::1/64 dev lan0.42 nodad
    ip -n $PREFIX-camera addr add 192.168.42.7/24 dev eth0.42
    ip -n $PREFIX-camera addr add fd00:42::7/64 dev eth0.42
    gateway camera 192.168.42.1 fd00:42::1

    # Remote side: two far networks, each behind a line with a delay.
    local net delay
    for net in a:6 b:25; do
        delay=${net#*:} net=${net%:*}
        switch "far-$net"
        host "line-$net"
        ip netns exec "$PREFIX-line-$net" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
        cable "line-$net" east "far-$net" p-line
        cable router "wan-$net" "line-$net" west
        ip -n "$PREFIX-line-$net" link set east up
        ip -n "$PREFIX-router" link set "wan-$net" up
        ip -n "$PREFIX-far-$net" link set p-line master br0
        spawn "line-$net" "$PY" "$W/line.py" east west "$delay"
    done
    ip -n $PREFIX-router addr add 203.0.113.1/24 dev wan-a
    ip -n $PREFIX-router addr add 2001:db8::1/64 dev wan-a nodad
    ip -n $PREFIX-router addr add 198.51.100.1/24 dev wan-b

    host web
    plug web far-a 02:00:cb:00:00:10 203.0.113.10/24 2001:db8::10/64
    host mirror
    plug mirror far-a 02:00:cb:00:00:30 203.0.113.30/24 203.0.113.20/24
    host office
    plug office far-a 02:00:cb:00:00:22 203.0.113.22/24 203.0.113.25/24 203.0.113.123/24
    gateway web 203.0.113.1 2001:db8::1
    gateway mirror 203.0.113.1
    gateway office 203.0.113.1
    host otherdns
    plug otherdns far-b 02:00:c6:00:00:53 198.51.100.53/24
    host attacker
    plug attacker far-b 02:00:c6:00:00:66 198.51.100.66/24
    gateway otherdns 198.51.100.1
    gateway attacker 198.51.100.1
    sleep 3                                       # let the IPv6 addresses become usable
}

# ---------------------------------------------------------------- servers

nginx_conf() { # nginx_conf NAME: reads the server blocks, writes NAME.conf
    mkdir -p "$W/nginx-$1"
    {
        printf 'daemon off; user root; worker_processes 1; pid %s/nginx-%s/pid; error_log stderr warn;\n' "$W" "$1"
        printf 'events { worker_connections 128; }\nhttp {\n'
        printf 'access_log off; default_type text/html; keepalive_timeout 5; ssl_session_cache off;\n'
        local kind
        for kind in client_body proxy fastcgi uwsgi scgi; do
            printf '%s_temp_path %s/nginx-%s/%s;\n' "$kind" "$W" "$1" "$kind"
        done
        cat
        printf '}\n'
    } >"$W/$1.conf"
}

start_nginx() { # start_nginx HOST NAME
    # -e: before the settings are read nginx would open its system-wide log.
    spawn "$1" nginx -e "$W/log/nginx-$2.log" -c "$W/$2.conf" -p "$W/nginx-$2"
}

page() { # page SITE FILE KIB: a page of text
    mkdir -p "$W/sites/$1"
    {
        printf '<!doctype html><title>%s</title><h1>%s</h1>\n' "$1" "$2"
        yes "<p>This page of $1 belongs to a recorded demo.</p>" | head -c $(($3 * 1024)) || true
    } >"$W/sites/$1/$2"
}

start_servers() {
    local name etc

    # Keys and self-signed certificates, made for this recording only.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
        -subj '/O=Demo Network/CN=login.bank.example' \
        -addext 'subjectAltName=DNS:login.bank.example,DNS:cloud.photos.example,DNS:www.v6.example' \
        -keyout "$W/web.key" -out "$W/web.crt" 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 \
        -subj '/O=Demo Office/CN=legacy.office.example' \
        -addext 'subjectAltName=DNS:legacy.office.example' \
        -keyout "$W/legacy.key" -out "$W/legacy.crt" 2>/dev/null
    ssh-keygen -q -t ed25519 -N '' -C demo-host -f "$W/ssh_host"
    ssh-keygen -q -t ed25519 -N '' -C demo-user -f "$W/ssh_user"

    # Web servers.
    page www.shop.example index.html 6
    page www.shop.example catalog.html 24
    page news.daily.example index.html 12
    page intranet.office.example index.html 2
    page www.v6.example index.html 5
    page login.bank.example index.html 8
    page cloud.photos.example index.html 10
    page legacy.office.example index.html 4
    page nas index.html 1
    mkdir -p "$W/sites/files.mirror.example"
    head -c 1048576 /dev/urandom >"$W/sites/files.mirror.example/image.bin"
    head -c 120000 /dev/urandom >"$W/photo.bin"
    printf 'demo:%s\n' "$(openssl passwd -apr1 demo-pass)" >"$W/htpasswd"
    nginx_conf web <<NGINX
client_max_body_size 2m;
server { listen 203.0.113.10:80 default_server; listen [2001:db8::10]:80 default_server;
         server_name www.shop.example; root $W/sites/www.shop.example; }
server { listen 203.0.113.10:80; server_name news.daily.example; root $W/sites/news.daily.example; }
server { listen 203.0.113.10:80; listen [2001:db8::10]:80; server_name www.v6.example; root $W/sites/www.v6.example; }
server { listen 203.0.113.10:80; server_name api.weather.example; default_type application/json;
         location /v1/today { return 200 '{"place":"demo","sky":"clear","degrees":12}\n'; }
         location /v1/report { return 201 '{"accepted":true}\n'; } }
server { listen 203.0.113.10:80; listen [2001:db8::10]:80; server_name upload.camera.example;
         location / { return 200 'stored\n'; } }
server { listen 203.0.113.10:80; server_name intranet.office.example; root $W/sites/intranet.office.example;
         auth_basic "office"; auth_basic_user_file $W/htpasswd; }
ssl_certificate $W/web.crt; ssl_certificate_key $W/web.key; ssl_protocols TLSv1.2 TLSv1.3;
server { listen 203.0.113.10:443 ssl http2 default_server; listen [2001:db8::10]:443 ssl http2 default_server;
         server_name login.bank.example; root $W/sites/login.bank.example; }
server { listen 203.0.113.10:443 ssl http2; server_name cloud.photos.example; root $W/sites/cloud.photos.example;
         location /upload { return 200 'stored\n'; } }
server { listen [2001:db8::10]:443 ssl http2; server_name www.v6.example; root $W/sites/www.v6.example; }
NGINX
    nginx_conf mirror <<NGINX
server { listen 203.0.113.30:80; server_name files.mirror.example; root $W/sites/files.mirror.example;
         location = /image.bin { limit_rate 160k; default_type application/octet-stream; } }
server { listen 203.0.113.20:443 ssl; server_name legacy.office.example; root $W/sites/legacy.office.example;
         ssl_certificate $W/legacy.crt; ssl_certificate_key $W/legacy.key; ssl_protocols TLSv1.2; }
NGINX
    nginx_conf nas <<NGINX
server { listen 192.168.10.20:80; server_name nas.home.example; root $W/sites/nas; }
NGINX
    start_nginx web web
    start_nginx mirror mirror
    start_nginx nas nas

    # SSH servers, with accounts of their own: root for the daemon, demo for the login.
    if [ ! -d /run/sshd ]; then mkdir -p /run/sshd; MADE_RUN_SSHD=1; fi
    for name in office nas; do
        etc=/etc/netns/$PREFIX-$name
        printf '%s\n' 'root:x:0:0:root:/:/bin/bash' 'sshd:x:110:65534::/run/sshd:/usr/sbin/nologin' \
            'nobody:x:65534:65534:nobody:/:/usr/sbin/nologin' 'demo:x:1000:1000:demo:/:/bin/bash' >"$etc/passwd"
        printf '%s\n' 'root:*:19000:0:99999:7:::' 'sshd:*:19000:0:99999:7:::' \
            'nobody:*:19000:0:99999:7:::' 'demo:*:19000:0:99999:7:::' >"$etc/shadow"
        chmod 600 "$etc/shadow"
    done
    cp "$W/ssh_user.pub" "$W/authorized_keys"
    cat >"$W/sshd.conf" <<SSHD
HostKey $W/ssh_host
AuthorizedKeysFile $W/authorized_keys
AllowUsers demo
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile none
SSHD
    spawn office /usr/sbin/sshd -D -e -f "$W/sshd.conf" -o ListenAddress=203.0.113.22
    spawn nas /usr/sbin/sshd -D -e -f "$W/sshd.conf" -o ListenAddress=192.168.10.20

    # Mail, clear-text FTP, message broker and time.
    spawn office "$PY" -m aiosmtpd -n -l 203.0.113.25:25
    mkdir -p "$W/ftp"
    yes 'A line of the quarterly report.' | head -c 8192 >"$W/ftp/report.txt" || true
    cat >"$W/ftp.py" <<'PYTHON'
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("demo", "demo-pass", sys.argv[2])
FTPServer((sys.argv[1], 21), FTPHandler).serve_forever()
PYTHON
    spawn office "$PY" "$W/ftp.py" 203.0.113.22 "$W/ftp"
    printf '%s\n' 'user root' 'listener 1883 203.0.113.22' 'allow_anonymous true' 'persistence false' >"$W/mosquitto.conf"
    spawn office mosquitto -c "$W/mosquitto.conf"
    printf '%s\n' 'local stratum 3' 'allow' 'cmdport 0' 'bindcmdaddress /' 'bindaddress 203.0.113.123' \
        "pidfile $W/chronyd.pid" >"$W/chronyd.conf"
    spawn office "$CHRONYD" -d -x -u root -f "$W/chronyd.conf"      # -x: never sets the clock

    # The expected name server, which is also the DHCP server and sends router advertisements.
    cat >"$W/dnsmasq.conf" <<DNSMASQ
keep-in-foreground
log-facility=-
user=root
no-resolv
no-hosts
interface=lan0
interface=lan0.42
bind-interfaces
local=/example/
host-record=router.home.example,192.168.10.1,fd00:10::1
host-record=nas.home.example,192.168.10.20,fd00:10::20
host-record=www.shop.example,203.0.113.10
host-record=news.daily.example,203.0.113.10
host-record=api.weather.example,203.0.113.10
host-record=intranet.office.example,203.0.113.10
host-record=login.bank.example,203.0.113.10
host-record=cloud.photos.example,203.0.113.10
host-record=upload.camera.example,203.0.113.10,2001:db8::10
host-record=www.v6.example,2001:db8::10
host-record=files.mirror.example,203.0.113.30
host-record=legacy.office.example,203.0.113.20
host-record=shell.office.example,203.0.113.22
host-record=ftp.office.example,203.0.113.22
host-record=broker.office.example,203.0.113.22
host-record=mail.office.example,203.0.113.25
host-record=time.office.example,203.0.113.123
host-record=old.office.example,203.0.113.200
mx-host=office.example,mail.office.example,10
txt-record=office.example,"v=spf1 ip4:203.0.113.25 -all"
dhcp-range=192.168.10.100,192.168.10.150,255.255.255.0,1h
dhcp-host=02:00:0a:00:00:65,192.168.10.101,tablet
dhcp-leasefile=$W/leases
dhcp-option=option:ntp-server,203.0.113.123
dhcp-authoritative
enable-ra
dhcp-range=fd00:10::,ra-only
DNSMASQ
    spawn router dnsmasq -C "$W/dnsmasq.conf"
    # The name server that nobody on this network should be asking.
    cat >"$W/otherdns.conf" <<DNSMASQ
keep-in-foreground
log-facility=-
user=root
no-resolv
no-hosts
listen-address=198.51.100.53
bind-interfaces
local=/example/
host-record=tracker.ads.example,198.51.100.80
host-record=update.firmware.example,198.51.100.81
DNSMASQ
    spawn otherdns dnsmasq -C "$W/otherdns.conf"

    # The DHCP client calls this with the lease in its environment.
    cat >"$W/udhcpc.sh" <<'SHELL'
#!/bin/sh
case "$1" in
deconfig) ip addr flush dev "$interface"; ip link set "$interface" up ;;
bound | renew) ip addr replace "$ip/$mask" dev "$interface"; ip route replace default via "$router" ;;
esac
SHELL
    chmod 755 "$W/udhcpc.sh"
    sleep 2
    local pid
    for pid in "${PIDS[@]}"; do
        kill -0 "$pid" 2>/dev/null || { say "a server did not start"; exit 1; }
    done
}

# ---------------------------------------------------------------- traffic

T0=0
at() { # at SECONDS: waits until that moment of the recording
    local left
    left=$(awk -v t="$1" -v t0="$T0" -v now="$(date +%s.%N)" 'BEGIN { d = t0 + t - now; print (d > 0 ? d : 0) }')
    say "  $(date +%T)  +$1 s"
    sleep "$left"
}

# step HOST COMMAND...: one piece of traffic, which has to work.
# failing HOST COMMAND...: one that has to fail.
UNEXPECTED=0
attempt() { on "$1" timeout 40 "${@:2}" </dev/null >>"$W/log/traffic.log" 2>&1; }
step() { say "    $1: $2"; attempt "$@" || { say "      failed: $*"; UNEXPECTED=1; }; }
failing() { say "    $1: $2"; ! attempt "$@" || { say "      did not fail: $*"; UNEXPECTED=1; }; }

traffic() {
    local curl=(curl -sS -o /dev/null)
    local web=(--cacert "$W/web.crt") legacy=(--cacert "$W/legacy.crt")

    at 1 # an MQTT subscription: a few bytes, then silence until after the end
    spawn tv mosquitto_sub -h broker.office.example -t demo/news -k 600 -i tv-30

    at 3 # the television asks for the weather all the time
    spawn tv sh -c 'while :; do curl -sS -m 5 http://api.weather.example/v1/today; sleep 17; done'

    at 5 # web pages, two of them in one connection, and one that does not exist
    step anna "${curl[@]}" http://www.shop.example/ -o /dev/null http://www.shop.example/catalog.html
    step anna "${curl[@]}" http://www.shop.example/no-such-page
    step anna "${curl[@]}" http://news.daily.example/

    at 10 # a tablet joins the network and reads the news
    ip -n $PREFIX-tablet link set eth0 up
    spawn tablet busybox udhcpc -i eth0 -f -R -s "$W/udhcpc.sh" -x hostname:tablet
    local udhcpc=$LAST_PID

    at 16 # HTTPS with TLS 1.3
    step anna "${curl[@]}" "${web[@]}" https://login.bank.example/
    step anna "${curl[@]}" "${web[@]}" https://cloud.photos.example/

    at 20
    step tablet wget -q -O /dev/null http://news.daily.example/

    at 23 # names: addresses, other records, a name that does not exist, and TCP
    step ben dig +tries=1 A www.shop.example
    step ben dig +tries=1 AAAA www.v6.example
    step ben dig +tries=1 MX office.example
    step ben dig +tries=1 TXT office.example
    step ben dig +tries=1 -x 203.0.113.10
    step ben dig +tries=1 A no-such-host.example
    step ben dig +tries=1 +tcp A files.mirror.example

    at 28 # a secure shell login that runs commands
    step ben ssh -F /dev/null -i "$W/ssh_user" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile="$W/known_hosts" demo@shell.office.example \
        'hostname; id; sleep 1; ls /usr/bin | head -n 300'

    at 36 # time
    step nas "$CHRONYD" -Q -t 10 -u root -f /dev/null 'server time.office.example iburst maxsamples 4' \
        'cmdport 0' 'bindcmdaddress /' "pidfile $W/chronyd-nas.pid"

    at 44 # one mail, in clear
    {
        printf 'From: Ben <ben@home.example>\nTo: Office <desk@office.example>\n'
        printf 'Subject: Demo mail\n\nThis mail was sent for a recorded demo.\n'
    } >"$W/mail.txt"
    step ben sh -c 'exec "$@" <"$0"' "$W/mail.txt" msmtp --host=mail.office.example --port=25 --auth=off --tls=off \
        --domain=ben.home.example --from=ben@home.example desk@office.example

    at 48 # a clear-text login, a listing and a file
    step ben "${curl[@]}" --user demo:demo-pass ftp://ftp.office.example/
    step ben "${curl[@]}" --user demo:demo-pass ftp://ftp.office.example/report.txt

    at 55 # VLAN 42, IPv4 and IPv6
    step camera busybox wget -q -O /dev/null http://upload.camera.example/hello
    step camera "${curl[@]}" -4 --data-binary @"$W/ftp/report.txt" http://upload.camera.example/frame
    step camera ping -6 -n -c 4 -i 0.5 fd00:42::1
    step camera ping -6 -n -c 4 -i 0.5 2001:db8::10
    step camera "${curl[@]}" -6 http://upload.camera.example/six

    at 68 # ping; the last two are so big that they travel in fragments
    step ben ping -4 -n -c 4 -i 0.5 203.0.113.10
    step ben ping -6 -n -c 4 -i 0.5 2001:db8::10
    step anna ping -4 -n -c 2 -i 0.5 192.168.10.1
    step ben ping -4 -n -c 2 -i 0.5 -s 2400 203.0.113.22
    step ben ping -6 -n -c 1 -s 2400 -M dont 2001:db8::10

    at 79 # the web over IPv6
    step anna "${curl[@]}" http://www.v6.example/
    step anna "${curl[@]}" "${web[@]}" https://www.v6.example/

    at 83 # the big download
    step anna "${curl[@]}" http://files.mirror.example/image.bin

    at 94 # HTTPS with a server that knows only TLS 1.2
    step ben "${curl[@]}" "${legacy[@]}" https://legacy.office.example/

    at 97 # the television asks a name server of its own choice
    step tv dig +tries=1 @198.51.100.53 A tracker.ads.example
    step tv dig +tries=1 @198.51.100.53 AAAA tracker.ads.example
    step tv dig +tries=1 @198.51.100.53 A update.firmware.example

    at 102 # the port scan from outside
    step attacker nmap -n -Pn -sS -p 1-600 --max-rate 80 --max-retries 1 192.168.10.20
    step attacker nmap -n -Pn -sU -p 53,67,123,137,500,514,1900 --max-rate 20 --max-retries 0 192.168.10.20

    at 120 # trouble: a closed port, a reset connection, a machine that is gone
    failing ben "${curl[@]}" -m 5 http://www.shop.example:8081/
    step ben "$PY" "$W/reset.py" 203.0.113.10 80
    failing ben "${curl[@]}" --connect-timeout 6 http://old.office.example/

    at 130 # uploads, and a password in clear
    step anna "${curl[@]}" -H 'Content-Type: application/json' -d '{"place":"demo","rain":false}' http://api.weather.example/v1/report
    step anna "${curl[@]}" "${web[@]}" --http1.1 --data-binary @"$W/photo.bin" https://cloud.photos.example/upload
    step ben "${curl[@]}" --user demo:demo-pass http://intranet.office.example/

    at 142
    step tablet wget -q -O /dev/null http://www.shop.example/catalog.html
    step ben ping -4 -n -c 6 -i 2 203.0.113.10

    at 158 # the tablet gives its address back
    kill "$udhcpc"
    step anna "${curl[@]}" "${web[@]}" https://login.bank.example/

    at 162
    step nas ping -4 -n -c 3 198.51.100.53
    at "$RUN_SECONDS"
}

# ---------------------------------------------------------------- recording

record() {
    [ "$(id -u)" = 0 ] || { say "recording needs root"; exit 1; }
    mkdir -p "$OUT"
    install_packages
    say "building the network"
    build_network
    say "starting the servers"
    start_servers

    # All of these listen on the router. Everything that passes between the local
    # hosts and the rest crosses its port lan0 exactly once.
    local dump=(tcpdump -Z root -n -s 262144 -B 8192 --immediate-mode) captures=() pid
    spawn router "${dump[@]}" -i lan0 -w "$W/demo.pcap"
    captures+=("$LAST_PID")
    spawn router "${dump[@]}" -i lan0 --time-stamp-precision=nano -w "$W/nano.pcap"
    captures+=("$LAST_PID")
    spawn router "${dump[@]}" -i lan0 -w "$W/ping6-vlan.pcap" 'vlan 42 and icmp6'
    captures+=("$LAST_PID")
    # The Linux "any" device: another link type. Only the router's own pings, so nothing is seen twice.
    spawn router "${dump[@]}" -i any -w "$W/ping-cooked.pcap" 'icmp and host 192.168.10.1 and host 192.168.10.11'
    captures+=("$LAST_PID")
    sleep 2
    T0=$(date +%s.%N)
    say "recording for $RUN_SECONDS s"
    traffic
    for pid in "${captures[@]}"; do kill "$pid"; done
    for pid in "${captures[@]}"; do wait "$pid" || true; done
    grep -h 'dropped by kernel' "$W"/log/router.log | sort | uniq -c >&2

    [ "$UNEXPECTED" = 0 ] || { say "the traffic did not go as planned"; exit 1; }

    say "cutting the small files"
    # tshark selects whole conversations from the nanosecond recording.
    tshark -r "$W/nano.pcap" -F pcapng -w "$W/cut.pcapng" -Y '
        arp || dhcp || (dns && ip.addr == 192.168.10.12) ||
        (icmp && ip.addr == 203.0.113.10 && frame.time_relative < 90) ||
        (tcp.port == 443 && ip.addr == 203.0.113.20) ||
        (tcp.port == 443 && ipv6.addr == 2001:db8::10) ||
        (vlan.id == 42 && ip.addr == 192.168.42.7)' 2>/dev/null
    editcap --capture-comment 'Part of the flowhook demo recording' \
        -a 1:'The first frame of this part' "$W/cut.pcapng" "$W/demo.pcapng"
    tshark -r "$W/nano.pcap" -F nsecpcap -w "$W/demo-ns.pcap" -Y '
        !(ip.addr == 198.51.100.66) && (ntp || (tcp.port == 22 && ip.addr == 192.168.10.12) || tcp.port == 25 ||
        ftp || ftp-data || (tcp && ip.addr == 203.0.113.22 && !(tcp.port == 1883)) ||
        icmpv6.type == 128 || icmpv6.type == 129)' 2>/dev/null

    install -m 644 "${FILES[@]/#/$W/}" "$OUT/"
    facts
    check
}

# ---------------------------------------------------------------- facts

# Writes demo.expected.json with what capinfos and tshark say about the files.
facts() {
    say "writing demo.expected.json"
    "$PY" - "$OUT" "${FILES[@]}" <<'PYTHON'
import decimal, json, subprocess, sys
folder, names = sys.argv[1], sys.argv[2:]

def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

def distinct(path, field, condition):
    text = run("tshark", "-r", path, "-Y", condition, "-T", "fields", "-E", "aggregator=,", "-e", field)
    return sorted({v for line in text.splitlines() for v in line.split(",") if v})

def conversations(path, kind):
    text = run("tshark", "-r", path, "-q", "-z", "conv," + kind)
    return sum("<->" in line for line in text.splitlines() if not line.startswith("Filter"))

facts = {}
for name in names:
    path = f"{folder}/{name}"
    # capinfos: packets, sum of the frame lengths, first and last time stamp
    head, row = run("capinfos", "-T", "-M", "-S", "-B", "-c", "-d", "-a", "-e", path).splitlines()[:2]
    info = dict(zip(head.split("\t"), row.split("\t")))
    first, last = info["Start time"], info["End time"]
    facts[name] = {
        "packets": int(info["Number of packets"]),
        "bytes": int(info["Data size (bytes)"]),
        "first": first,
        "last": last,
        "duration_s": float(decimal.Decimal(last) - decimal.Decimal(first)),
        "tcp_conversations": conversations(path, "tcp"),
        "udp_conversations": conversations(path, "udp"),
        "sni": distinct(path, "tls.handshake.extensions_server_name", "tls.handshake.extensions_server_name"),
        "http_hosts": distinct(path, "http.host", "tcp && http.host"),
        "dns_queries": distinct(path, "dns.qry.name", "dns.qry.name"),
    }
with open(f"{folder}/demo.expected.json", "w") as out:
    json.dump(facts, out, indent=2, sort_keys=True)
    out.write("\n")
PYTHON
}

# ---------------------------------------------------------------- checks

BAD=0
expect() { # expect TEXT ACTUAL OPERATOR NUMBER
    if [ "$2" "$3" "$4" ]; then printf 'ok    %s: %s\n' "$1" "$2"; else printf 'WRONG %s: %s, not %s %s\n' "$1" "$2" "$3" "$4"; BAD=1; fi
}
count() { # count FILE FILTER
    tshark -r "$OUT/$1" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
        -Y "$2" -T fields -e frame.number 2>/dev/null | wc -l
}

check() {
    local file filter total=0
    for file in "${FILES[@]}"; do
        expect "$file, wrong checksums" "$(count "$file" 'ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0')" -eq 0
        expect "$file, malformed frames" "$(count "$file" '_ws.malformed')" -eq 0
        expect "$file, frames over 1518 bytes" "$(count "$file" 'frame.len > 1518 || (!vlan && !sll && frame.len > 1514)')" -eq 0
        expect "$file, cut frames" "$(count "$file" 'frame.cap_len < frame.len')" -eq 0
        # Neighbours may change places by microseconds, as in any live capture.
        expect "$file, time going back by over 1 ms" "$(count "$file" 'frame.time_delta < -0.001')" -eq 0
        # A frame recorded twice would return within milliseconds.
        editcap -D 100 -w 0.02 "$OUT/$file" "$W/unique.pcap" 2>/dev/null
        expect "$file, frames seen twice" "$(($(count "$file" frame) - $(tshark -r "$W/unique.pcap" -T fields -e frame.number 2>/dev/null | wc -l)))" -eq 0
    done
    # The same packet must not come by a second time with another tag or hop count.
    expect "demo.pcap, packets routed twice through the port" "$(tshark -r "$OUT/demo.pcap" -Y 'tcp && !icmp && !icmpv6' \
        -T fields -e ip.src -e ipv6.src -e ip.dst -e ipv6.dst -e ip.id -e tcp.srcport -e tcp.dstport -e tcp.seq_raw -e tcp.ack_raw -e tcp.len -e tcp.flags -e tcp.checksum 2>/dev/null | sort | uniq -d | wc -l)" -eq 0
    while read -r filter; do
        expect "demo.pcap, $filter" "$(count demo.pcap "$filter")" -gt 0
    done <<'FILTERS'
http.request.method == "GET" && ip
http.response.code == 404
http.request.method == "POST"
http.authorization
tls.handshake.type == 1 && tls.handshake.extensions_server_name == "login.bank.example"
tls.handshake.type == 2 && tls.handshake.extensions.supported_version == 0x0304
tls.handshake.type == 11 && ip.src == 203.0.113.20
dns.qry.type == 1 && dns.a && udp
dns.qry.type == 28 && dns.aaaa && udp
dns.flags.rcode == 3
dns && tcp
dns && ip.dst == 198.51.100.53
ssh.protocol
ntp
smtp.req.command == "DATA"
ftp.request.command == "PASS"
ftp-data
dhcp.option.dhcp == 1
dhcp.option.dhcp == 5
dhcp.option.dhcp == 7
mqtt
arp
icmp.type == 8
icmp.type == 0
icmp.type == 3
icmpv6.type == 128
icmpv6.type == 129
icmpv6.type == 134
ip.flags.mf == 1
ipv6.fraghdr
http.request && ipv6
http.request && vlan.id == 42
icmpv6.type == 128 && vlan.id == 42
tcp.flags.reset == 1 && tcp.srcport == 8081
tcp.flags.reset == 1 && ip.src == 192.168.10.12 && tcp.dstport == 80
tcp.flags.syn == 1 && tcp.flags.ack == 0 && ip.dst == 203.0.113.200
FILTERS
    expect "demo.pcap, ports scanned" "$(tshark -r "$OUT/demo.pcap" -Y 'tcp.flags == 2 && ip.src == 198.51.100.66' -T fields -e tcp.dstport 2>/dev/null | sort -u | wc -l)" -ge 600
    expect "demo.pcap, ends of the idle connection" "$(count demo.pcap 'tcp.port == 1883 && (tcp.flags.fin == 1 || tcp.flags.reset == 1)')" -eq 0
    expect "demo.pcap, duration" "$(capinfos -TMru "$OUT/demo.pcap" | cut -f2 | cut -d. -f1)" -ge 130
    expect "demo.pcap, duration" "$(capinfos -TMru "$OUT/demo.pcap" | cut -f2 | cut -d. -f1)" -le 200
    expect "demo.pcap, size" "$(stat -c %s "$OUT/demo.pcap")" -lt 2936012
    expect "demo.pcapng, size" "$(stat -c %s "$OUT/demo.pcapng")" -lt 153600
    expect "demo-ns.pcap, size" "$(stat -c %s "$OUT/demo-ns.pcap")" -lt 102400
    expect "ping6-vlan.pcap, size" "$(stat -c %s "$OUT/ping6-vlan.pcap")" -lt 20480
    expect "ping-cooked.pcap, size" "$(stat -c %s "$OUT/ping-cooked.pcap")" -lt 20480
    for file in "${FILES[@]}"; do total=$((total + $(stat -c %s "$OUT/$file"))); done
    expect "all captures, size" "$total" -lt 3000000
    if [ "$BAD" -ne 0 ]; then say "some checks failed"; return 1; fi
    say "all checks passed"
}

"$MODE"
