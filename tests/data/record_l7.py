#!/usr/bin/python3
"""Records what tests of layer-7 protocols read: messages of real programs on loopback, and of scapy.

    record_l7.py [NAME ...]     records all, or only the named ones (root, Debian 12)

Every file it writes is hexadecimal text under collector/src/l7, a message a line behind a label; the
first line names the program and its version. Programs run in a network namespace of their own, whose
loopback tcpdump records; nothing else of the machine's network is touched. What is missing is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import record_l7_services as services

L7 = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../collector/src/l7")
SPACE = "fh-record-l7"


def write(file, origin, lines):
    """A file of lines (label, bytes)."""
    path = os.path.join(L7, file)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as out:
        out.write(f"# {origin}\n")
        for label, message in lines:
            out.write(f"{label} {bytes(message).hex()}\n")
    print(f"{file}: {len(lines)} messages of {origin}")


def version(package):
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout


def install(*packages):
    missing = [p for p in packages if subprocess.run(["dpkg", "-s", p], capture_output=True, check=False).returncode]
    if missing:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *missing], env=environment, check=True)


# ---------------------------------------------------------------- composed by scapy


def over_ip():
    """Protocols that IP itself carries."""
    install("python3-scapy")
    from scapy.all import ESP, IP, UDP, SecurityAssociation, raw
    from scapy.contrib.eigrp import EIGRP, EIGRPParam, EIGRPSwVer
    from scapy.contrib.igmp import IGMP
    from scapy.contrib.igmpv3 import IGMPv3, IGMPv3gr, IGMPv3mr
    from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello, OSPFv3_Hdr, OSPFv3_Hello
    from scapy.contrib.pim import PIMv2Hdr, PIMv2Hello, PIMv2HelloHoldtime
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import AH
    from scapy.layers.vrrp import VRRP, VRRPv3

    four = IP(src="192.0.2.1", dst="224.0.0.5")
    six = IPv6(src="fe80::1", dst="ff02::5")

    def inside(packet):
        whole = type(packet)(raw(packet))
        return raw(whole.payload)

    association = [
        SecurityAssociation(kind, spi=0x12345678, auth_algo="HMAC-SHA1-96", auth_key=b"k" * 20, **more)
        for kind, more in [(ESP, {"crypt_algo": "AES-CBC", "crypt_key": b"c" * 16}), (AH, {})]
    ]
    secret = [inside(sa.encrypt(IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / b"hello")) for sa in association]
    igmp2 = IP(src="192.0.2.1", dst="224.0.0.1", ttl=1)
    write(
        "ip/scapy.txt",
        f"scapy {version('python3-scapy')} (Debian)",
        [
            ("ospf2", inside(four / OSPF_Hdr(src="192.0.2.1") / OSPF_Hello(neighbors=["192.0.2.2"]))),
            ("ospf3", inside(six / OSPFv3_Hdr(src="192.0.2.1") / OSPFv3_Hello())),
            ("igmp2-query", inside(igmp2 / IGMP(type=0x11, mrcode=100))),
            ("igmp2-report", inside(igmp2 / IGMP(type=0x16, gaddr="239.1.2.3"))),
            ("igmp3-report", inside(igmp2 / IGMPv3(type=0x22) / IGMPv3mr(records=[IGMPv3gr(maddr="239.1.2.3")]))),
            ("pim-hello", inside(four / PIMv2Hdr(type=0) / PIMv2Hello(option=[PIMv2HelloHoldtime()]))),
            ("vrrp2", inside(four / VRRP(vrid=7, addrlist=["192.0.2.254"], auth1=0, auth2=0))),
            ("vrrp3", inside(four / VRRPv3(vrid=7, addrlist=["192.0.2.254"]))),
            ("eigrp-hello", inside(four / EIGRP(opcode=5, asn=100, tlvlist=[EIGRPParam(), EIGRPSwVer()]))),
            ("esp", secret[0]),
            ("ah", secret[1]),
        ],
    )


# ---------------------------------------------------------------- recorded between programs


class Wire:
    """Programs in a network namespace whose loopback is recorded."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="fh-record-l7.")
        os.chmod(self.folder, 0o755)
        self.running = []

    def __enter__(self):
        for space in (SPACE, f"{SPACE}-2"):
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "netns", "add", SPACE], check=True)
        # As on a wire: no segments larger than a packet.
        self.run("ip", "link", "set", "lo", "up", "mtu", "1500")
        self.run("ethtool", "-K", "lo", "tso", "off", "gso", "off", "gro", "off", check=False)
        self.capture = self.file("lo.pcap")
        self.start("tcpdump", "-i", "lo", "-U", "-w", self.capture, ready=lambda: os.path.exists(self.capture))
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for space in (SPACE, f"{SPACE}-2"):
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def file(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
        return path

    def inside(self, command):
        return ["ip", "netns", "exec", SPACE, *command]

    def cable(self):
        """Makes a cable to a namespace of its own and records that instead: v0 here, v1 there."""
        subprocess.run(["ip", "netns", "add", f"{SPACE}-2"], check=True)
        self.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", f"{SPACE}-2")
        self.run("ip", "link", "set", "v0", "up")
        self.there("ip", "link", "set", "v1", "up")
        self.capture = self.file("v0.pcap")
        self.start("tcpdump", "-i", "v0", "-U", "-w", self.capture, ready=lambda: os.path.exists(self.capture))

    def there(self, *command, check=True):
        command = ["ip", "netns", "exec", f"{SPACE}-2", *command]
        return subprocess.run(command, check=check, capture_output=True, timeout=60)

    def run(self, *command, check=True, **more):
        return subprocess.run(self.inside(command), check=check, capture_output=True, timeout=60, **more)

    def start(self, *command, ready=None, port=None, within=20, **more):
        """Starts a program and waits until it is ready, or listens on TCP port `port`."""
        log = open(self.file("log"), "ab")
        self.running.append(subprocess.Popen(self.inside(command), stdout=log, stderr=log, **more))
        if port is not None:
            ready = lambda: f":{port} " in self.run("ss", "-Hltnu").stdout.decode()
        deadline = time.monotonic() + within
        while ready is not None and not ready():
            if time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not come up: {open(self.file('log'), encoding='utf-8', errors='replace').read()}")
            time.sleep(0.05)

    def messages(self, *ports, most=8, by_port=False):
        """Payloads of the longest conversation on one of `ports`, with who sent each; with `by_port` all,
        where who asks has no address yet or asks everybody."""
        from scapy.all import IP, TCP, UDP, IPv6, raw, rdpcap

        time.sleep(0.5)  # tcpdump has it on disk by then
        seen, conversations = set(), {}
        for packet in rdpcap(self.capture):
            layer = next((packet[kind] for kind in (TCP, UDP) if kind in packet), None)
            if layer is None or not {layer.sport, layer.dport} & set(ports):
                continue
            network = packet[IP] if IP in packet else packet[IPv6]
            source, target = (network.src, layer.sport), (network.dst, layer.dport)
            # Whoever speaks to the port first is the client.
            client = source if layer.dport in ports else target
            ends = "all" if by_port else frozenset([source, target])
            client, found = conversations.setdefault(ends, (client, []))
            asks = layer.dport in ports if by_port else source == client
            payload = raw(layer.payload)
            if payload and not (TCP in packet and (source, target, layer.seq) in seen):
                seen.add((source, target, getattr(layer, "seq", None)))
                found.append(("client" if asks else "server", payload))
        longest = max((found for _, found in conversations.values()), key=len, default=[])
        if not longest:
            log = open(self.file("log"), encoding="utf-8", errors="replace").read()
            sys.exit(f"nothing was recorded on {ports}: {log}")
        return longest[:most]


def datagrams(file):
    """The payloads of UDP in a capture."""
    from scapy.all import UDP, raw, rdpcap

    return [raw(packet[UDP].payload) for packet in rdpcap(file) if UDP in packet]


def recorded(file, packages, ports, play, most=8, by_port=False):
    """A recording: what `play` does on a wire, written to `file`."""

    def record():
        install("tcpdump", "iproute2", "ethtool", "python3-scapy", *packages)
        origin = " and ".join(f"{package} {version(package)}" for package in packages)
        with Wire() as wire:
            play(wire)
            write(file, f"{origin} (Debian)", wire.messages(*ports, most=most, by_port=by_port))

    return record


def ssh(wire):
    key = wire.file("key")
    wire.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    os.makedirs("/run/sshd", exist_ok=True)
    wire.start("/usr/sbin/sshd", "-D", "-h", key, "-f", wire.file("sshd", ""), "-p", "22", port=22)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    wire.run("ssh", *options, "nobody@127.0.0.1", "true", check=False)


def ftp(wire):
    empty = wire.file("empty")
    os.makedirs(empty)
    conf = f"listen=YES\nanonymous_enable=YES\nanon_root={empty}\nsecure_chroot_dir={empty}\nbackground=NO\nseccomp_sandbox=NO\n"
    wire.start("vsftpd", wire.file("vsftpd", conf), port=21)
    commands = "open 127.0.0.1\nuser anonymous a@example.com\nsyst\npassive\nls\nbye\n"
    wire.run("ftp", "-n", input=commands.encode(), check=False)


def mail(wire, scheme, port):
    conf = wire.file(
        "dovecot",
        f"""base_dir = {wire.folder}/run
state_dir = {wire.folder}/state
log_path = {wire.folder}/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = mbox:{wire.folder}/mail
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={wire.folder}
}}
""",
    )
    wire.start("dovecot", "-F", "-c", conf, port=port)
    wire.run("curl", "-sS", "-u", "joe:secret", f"{scheme}://127.0.0.1/", check=False)


def smtp(wire):
    server = (
        "import asyncio\nfrom aiosmtpd.controller import Controller\nfrom aiosmtpd.handlers import Sink\n"
        "Controller(Sink(), hostname='127.0.0.1', port=25).start()\nasyncio.new_event_loop().run_forever()\n"
    )
    wire.start("/usr/bin/python3", "-c", server, port=25)
    letter = wire.file("letter", "Subject: hello\n\nhello\n")
    address = ["--mail-from", "a@example.com", "--mail-rcpt", "b@example.net"]
    wire.run("curl", "-sS", "smtp://127.0.0.1/a.example.com", *address, "-T", letter)


def mqtt(wire):
    wire.start("mosquitto", "-p", "1883", port=1883)
    login = ["-u", "joe", "-P", "secret", "-i", "sensor-7"]
    wire.run("mosquitto_pub", "-h", "127.0.0.1", *login, "-t", "house/door", "-m", "open")


def snmp(wire):
    conf = wire.file("snmpd", "rocommunity public\n")
    wire.start("snmpd", "-f", "-C", "-c", conf, "udp:127.0.0.1:161", port=161)
    wire.run("snmpget", "-v", "2c", "-c", "public", "127.0.0.1", "1.3.6.1.2.1.1.5.0")


def tftp(wire):
    wire.file("hello", "hello " * 200)
    os.chmod(wire.file("hello"), 0o644)
    only = ["--port=0", "--listen-address=127.0.0.1", "--bind-interfaces", "--conf-file=/dev/null"]
    wire.start("dnsmasq", "-k", "-u", "nobody", *only, "--enable-tftp", f"--tftp-root={wire.folder}", port=69)
    wire.run("curl", "-sS", "tftp://127.0.0.1/hello")


def stun(wire):
    wire.start("turnserver", "-n", "--no-tls", "--no-dtls", "-L", "127.0.0.1", "--log-file", "stdout", port=3478)
    wire.run("turnutils_stunclient", "127.0.0.1", check=False)


def telnet(wire):
    wire.start("socat", "TCP-LISTEN:23,bind=127.0.0.1,fork,reuseaddr", "EXEC:/usr/sbin/telnetd,nofork", port=23)
    wire.run("sh", "-c", "(sleep 1; echo joe; sleep 1) | telnet 127.0.0.1", check=False)


def vnc(wire):
    wire.start("Xtigervnc", ":7", "-SecurityTypes", "None", "-rfbport", "5900", "-localhost", port=5900)
    wire.run("gvnccapture", "127.0.0.1:0", wire.file("screen.png"), check=False)


def rdp(wire):
    wire.start("xrdp", "--nodaemon", port=3389)
    command = "xvfb-run -a timeout 8 xfreerdp /v:127.0.0.1 /u:joe /p:secret /cert:ignore"
    wire.run("sh", "-c", command, check=False)


def sip(wire):
    wire.start("sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", "5060", port=5060, stdin=subprocess.DEVNULL)
    wire.run("sipp", "-sn", "uac", "127.0.0.1:5060", "-i", "127.0.0.1", "-p", "5070", "-m", "1", "-d", "200")


def media(wire):
    source = ["-re", "-f", "lavfi", "-i", "sine=duration=7", "-c:a", "pcm_mulaw"]
    wire.run("ffmpeg", "-loglevel", "error", *source, "-f", "rtp", "rtp://127.0.0.1:5004", check=False)


def radius(wire):
    wire.start("freeradius", "-f", "-l", "stdout", port=1812)
    wire.run("radtest", "joe", "secret", "127.0.0.1", "0", "testing123", check=False)


def syslog(wire):
    wire.run("logger", "--rfc5424", "-n", "127.0.0.1", "-P", "514", "-d", "-t", "door", "opened")


def ntp(wire):
    conf = wire.file("chrony", f"local stratum 8\nallow 127.0.0.1\npidfile {wire.folder}/pid\n")
    wire.start("chronyd", "-d", "-x", "-u", "root", "-f", conf, port=123)
    wire.run("chronyd", "-Q", "-u", "root", "-t", "5", "server 127.0.0.1 iburst maxsamples 1", check=False)


def bgp(wire):
    for number, other in [(1, 2), (2, 1)]:
        conf = wire.file(
            f"bird{number}",
            f"""router id 192.0.2.{number};
protocol device {{}}
protocol static {{ ipv4; route 203.0.113.{number}/32 blackhole; }}
protocol bgp {{
  local 127.0.0.{number} as 6450{number};
  neighbor 127.0.0.{other} as 6450{other};
  multihop;
  strict bind;
  connect delay time 1;
  ipv4 {{ import all; export all; }};
}}
""",
        )
        wire.start("bird", "-f", "-c", conf, "-s", wire.file(f"bird{number}.ctl"))
    time.sleep(8)


def xmpp(wire):
    conf = wire.file(
        "prosody.cfg.lua",
        f"""daemonize = false
pidfile = "{wire.folder}/prosody.pid"
data_path = "{wire.folder}"
run_as_root = true
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
interfaces = {{ "127.0.0.1" }}
modules_enabled = {{ "saslauth" }}
VirtualHost "localhost"
""",
    )
    wire.start("prosody", "--config", conf, "-F", port=5222)
    client = (
        "import slixmpp\nc = slixmpp.ClientXMPP('joe@localhost', 'secret')\nc['feature_mechanisms'].unencrypted_plain = True\n"
        "c.connect(('127.0.0.1', 5222), force_starttls=False, disable_starttls=True)\nc.loop.call_later(4, c.loop.stop)\nc.loop.run_forever()\n"
    )
    wire.run("/usr/bin/python3", "-c", client, check=False)


def kafka(wire):
    # There is no broker in Debian; what the client says first is enough.
    wire.start("socat", "TCP-LISTEN:9092,bind=127.0.0.1,fork,reuseaddr", "SYSTEM:sleep 3", port=9092)
    wire.run("timeout", "4", "kcat", "-b", "127.0.0.1:9092", "-L", check=False)


def ldap(wire):
    conf = wire.file(
        "slapd",
        f"""include /etc/ldap/schema/core.schema
pidfile {wire.folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=com"
directory {wire.folder}
rootdn "cn=admin,dc=example,dc=com"
rootpw secret
""",
    )
    wire.start("slapd", "-d", "0", "-f", conf, "-h", "ldap://127.0.0.1/", port=389)
    login = ["-x", "-D", "cn=admin,dc=example,dc=com", "-w", "secret"]
    wire.run("ldapsearch", *login, "-H", "ldap://127.0.0.1/", "-b", "dc=example,dc=com", check=False)


def smb(wire):
    for name in ["state", "cache", "lock", "private", "pid", "ncalrpc"]:
        os.makedirs(wire.file(name))
    conf = wire.file(
        "smb",
        f"""[global]
interfaces = 127.0.0.1
bind interfaces only = yes
disable netbios = yes
map to guest = bad user
state directory = {wire.folder}/state
cache directory = {wire.folder}/cache
lock directory = {wire.folder}/lock
private dir = {wire.folder}/private
pid directory = {wire.folder}/pid
ncalrpc dir = {wire.folder}/ncalrpc
[share]
path = {wire.folder}/state
guest ok = yes
""",
    )
    wire.start("smbd", "-F", "--no-process-group", "-s", conf, port=445)
    wire.run("smbclient", "-s", conf, "-N", "//127.0.0.1/share", "-c", "dir", check=False)


def wireguard(wire):
    for number in (1, 2):
        wire.start("env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f", f"wg{number}")
    time.sleep(2)
    keys = [wire.run("wg", "genkey").stdout.strip() for _ in range(2)]
    publics = [wire.run("wg", "pubkey", input=key).stdout.decode().strip() for key in keys]
    for number, other in [(1, 2), (2, 1)]:
        with open(wire.file(f"key{number}"), "wb") as out:
            out.write(keys[number - 1])
        peer = ["peer", publics[other - 1], "allowed-ips", f"10.77.0.{other}/32"]
        where = ["endpoint", f"127.0.0.1:{51819 + other}"]
        wire.run("wg", "set", f"wg{number}", "listen-port", str(51819 + number), "private-key", wire.file(f"key{number}"), *peer, *where)
        wire.run("ip", "address", "add", f"10.77.0.{number}/32", "dev", f"wg{number}")
        wire.run("ip", "link", "set", f"wg{number}", "up")
    wire.run("ip", "route", "add", "10.77.0.2/32", "dev", "wg1", check=False)
    # Its address is local, so that only a packet of another address goes through the tunnel.
    wire.run("ip", "route", "add", "10.77.9.0/24", "dev", "wg1", check=False)
    wire.run("wg", "set", "wg1", "peer", publics[1], "allowed-ips", "10.77.9.0/24")
    wire.run("ping", "-c", "2", "-W", "1", "-I", "wg1", "10.77.9.9", check=False)
    time.sleep(1)


def addresses(wire, family):
    wire.cable()
    wire.run("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
    wire.run("ip", "address", "add", "fd00:9::1/64", "dev", "v0", "nodad")
    ranges = ["--dhcp-range=192.0.2.10,192.0.2.20", "--dhcp-range=fd00:9::10,fd00:9::20,64"]
    leases = [f"--dhcp-leasefile={wire.folder}/leases", "--conf-file=/dev/null", "--port=0", "--interface=v0"]
    wire.start("dnsmasq", "-k", "-u", "root", *leases, *ranges, port=67)
    time.sleep(2)  # until the addresses of the link itself may be used
    files = ["-lf", wire.file("client.leases"), "-pf", wire.file("client.pid"), "-sf", "/bin/true"]
    wire.there("timeout", "20", "dhclient", family, "-d", "-1", *files, "v1", check=False)


def llmnr():
    """Nothing in Debian asks this without a whole system around it."""
    install("python3-scapy")
    from scapy.all import DNSQR, DNSRR, LLMNRQuery, LLMNRResponse, raw

    question = DNSQR(qname="printer", qtype="A")
    answer = DNSRR(rrname="printer", type="A", rdata="192.0.2.7", ttl=30)
    lines = [
        ("client", raw(LLMNRQuery(id=0x1234, qd=question))),
        ("server", raw(LLMNRResponse(id=0x1234, qr=1, qd=question, an=answer))),
    ]
    write("dns/llmnr_scapy.txt", f"scapy {version('python3-scapy')} (Debian)", lines)


RECORDINGS = {
    "ip": over_ip,
    "llmnr": llmnr,
    "dhcp": recorded("dhcp/dnsmasq.txt", ["dnsmasq-base", "isc-dhcp-client"], [67], lambda w: addresses(w, "-4"), most=4, by_port=True),
    "dhcpv6": recorded("dhcpv6/dnsmasq.txt", ["dnsmasq-base", "isc-dhcp-client"], [547], lambda w: addresses(w, "-6"), most=4, by_port=True),
    "ssh": recorded("ssh/openssh.txt", ["openssh-server"], [22], ssh, most=6),
    "ftp": recorded("ftp/vsftpd.txt", ["vsftpd", "ftp"], [21], ftp, most=20),
    "imap": recorded("imap/dovecot.txt", ["dovecot-imapd", "curl"], [143], lambda w: mail(w, "imap", 143)),
    "pop3": recorded("pop3/dovecot.txt", ["dovecot-pop3d", "curl"], [110], lambda w: mail(w, "pop3", 110)),
    "smtp": recorded("smtp/curl.txt", ["python3-aiosmtpd", "curl"], [25], smtp, most=12),
    "mqtt": recorded("mqtt/mosquitto.txt", ["mosquitto", "mosquitto-clients"], [1883], mqtt),
    "snmp": recorded("snmp/net_snmp.txt", ["snmpd", "snmp"], [161], snmp),
    "tftp": recorded("tftp/curl.txt", ["dnsmasq-base", "curl"], [69], tftp),
    "stun": recorded("stun/coturn.txt", ["coturn"], [3478], stun),
    "telnet": recorded("telnet/inetutils.txt", ["inetutils-telnetd", "inetutils-telnet", "socat"], [23], telnet),
    "vnc": recorded("vnc/tigervnc.txt", ["tigervnc-standalone-server", "gvncviewer"], [5900], vnc, most=6),
    "rdp": recorded("rdp/xrdp.txt", ["xrdp", "freerdp2-x11"], [3389], rdp, most=4),
    "sip": recorded("sip/sipp.txt", ["sip-tester"], [5060], sip),
    "rtp": recorded("rtp/ffmpeg.txt", ["ffmpeg"], [5004], media, most=6),
    "rtcp": recorded("rtp/ffmpeg_rtcp.txt", ["ffmpeg"], [5005], media, most=4),
    "radius": recorded("radius/freeradius.txt", ["freeradius", "freeradius-utils"], [1812], radius),
    "syslog": recorded("syslog/logger.txt", ["bsdutils"], [514], syslog),
    "ntp": recorded("ntp/chrony.txt", ["chrony"], [123], ntp),
    "bgp": recorded("bgp/bird.txt", ["bird2"], [179], bgp),
    "xmpp": recorded("xmpp/prosody.txt", ["prosody", "python3-slixmpp"], [5222], xmpp),
    "kafka": recorded("kafka/kafkacat.txt", ["kcat", "socat"], [9092], kafka),
    "ldap": recorded("ldap/openldap.txt", ["slapd", "ldap-utils"], [389], ldap),
    "smb": recorded("smb/samba.txt", ["samba", "smbclient"], [445], smb, most=6),
    "wireguard": recorded("wireguard/wireguard_go.txt", ["wireguard-go", "wireguard-tools"], [51820, 51821], wireguard, most=4),
    "exported": lambda: services.exported(write, datagrams),
    "composed": lambda: services.composed(write, version, install),
    "irc": recorded("irc/ngircd.txt", ["ngircd", "sic"], [6667], services.irc),
    "socks": recorded("socks/microsocks.txt", ["microsocks", "curl", "socat"], [1080], services.socks),
    "rsync": recorded("rsync/rsync.txt", ["rsync"], [873], services.rsync),
    "rpc": recorded("onc_rpc/rpcbind.txt", ["rpcbind"], [111], services.rpc),
    "munin": recorded("munin/munin_node.txt", ["munin-node", "socat"], [4949], services.munin),
    "collectd": recorded("collectd/collectd.txt", ["collectd-core"], [25826], services.collectd, most=2),
    "zabbix": recorded("zabbix/zabbix.txt", ["zabbix-agent"], [10050], services.zabbix),
    "nats": recorded("nats/nats_server.txt", ["nats-server", "socat"], [4222], services.nats),
    "ws_discovery": recorded("ws_discovery/wsdd.txt", ["wsdd"], [3702], services.discovery, most=4, by_port=True),
    "ssdp": recorded("ssdp/minidlna.txt", ["minidlna", "gupnp-tools"], [1900], services.ssdp, most=6, by_port=True),
    "netbios": recorded("netbios/samba.txt", ["samba", "samba-common-bin"], [137], services.netbios, most=6, by_port=True),
    "whois": recorded("whois/whois.txt", ["whois", "socat"], [43], services.whois),
    "l2tp": recorded("l2tp/xl2tpd.txt", ["xl2tpd"], [1701], services.l2tp, most=6),
    "dtls": recorded("dtls/openssl.txt", ["openssl"], [4433], services.dtls, most=16),
    "rtmp": recorded("rtmp/ffmpeg.txt", ["ffmpeg"], [1935], services.rtmp, most=6),
    "rtsp": recorded("rtsp/ffmpeg.txt", ["ffmpeg"], [8554], services.rtsp, most=8),
    "quake": recorded("quake/qstat.txt", ["qstat", "socat"], [27960], services.game("q3s", 27960)),
    "source": recorded("quake/qstat_source.txt", ["qstat", "socat"], [27015], services.game("a2s", 27015)),
    "coap": recorded("coap/libcoap.txt", ["libcoap3-bin"], [5683], services.coap),
    "modbus": recorded("modbus/pymodbus.txt", ["python3-pymodbus", "python3-serial-asyncio"], [502], services.modbus),
    "cassandra": recorded("cassandra/driver.txt", ["python3-cassandra", "socat"], [9042], services.cassandra),
    "tds": recorded("tds/freetds.txt", ["freetds-bin", "socat"], [1433], services.tds),
    "stomp": recorded("stomp/rabbitmq.txt", ["rabbitmq-server", "python3-stomp"], [61613], services.stomp),
    "amqp": recorded("amqp/rabbitmq.txt", ["rabbitmq-server", "amqp-tools"], [5672], services.amqp),
    "http2": recorded("http2/nginx.txt", ["nginx-light", "curl"], [8080], services.http2, most=6),
    "bfd": recorded("bfd/bird.txt", ["bird2"], [3784], services.bfd, most=4),
}


def main():
    names = sys.argv[1:] or list(RECORDINGS)
    for name in names:
        RECORDINGS[name]()


if __name__ == "__main__":
    main()
