"""What record_l7.py records besides: services of hosts and networks, messaging, media, industry, and what
nothing in Debian speaks, composed by scapy."""

import os
import subprocess
import time


def irc(wire):
    conf = wire.file("ngircd", "[Global]\nName = irc.example.net\nInfo = test\nListen = 127.0.0.1\n[Options]\nPAM = no\nIdent = no\nDNS = no\n")
    wire.start("ngircd", "-n", "-f", conf, port=6667)
    wire.run("sh", "-c", "(sleep 2; echo ':j #room'; sleep 1; echo hello; sleep 1) | timeout 6 sic -h 127.0.0.1 -n joe", check=False)


def socks(wire):
    wire.start("microsocks", "-i", "127.0.0.1", "-p", "1080", "-u", "joe", "-P", "secret", port=1080)
    wire.start("socat", "TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr", "SYSTEM:sleep 1; echo hello", port=8080)
    wire.run("curl", "-sS", "-m", "4", "-x", "socks5://joe:secret@127.0.0.1:1080", "http://127.0.0.1:8080/", check=False)


def rsync(wire):
    wire.file("hello", "hello\n")
    conf = wire.file("rsyncd", f"use chroot = no\npid file = {wire.folder}/pid\n[share]\npath = {wire.folder}\n")
    wire.start("rsync", "--daemon", "--no-detach", "--address", "127.0.0.1", "--config", conf, port=873)
    wire.run("rsync", "rsync://127.0.0.1/share/")


def rpc(wire):
    os.makedirs("/run/rpcbind", exist_ok=True)
    wire.start("rpcbind", "-f", port=111)
    wire.run("rpcinfo", "-T", "tcp", "127.0.0.1", "portmapper", check=False)


def munin(wire):
    conf = wire.file("munin-node", "host 127.0.0.1\nport 4949\nallow ^127\\.0\\.0\\.1$\nbackground 0\nsetsid 0\nuser root\ngroup root\nhost_name node.example.net\n")
    wire.start("munin-node", "--config", conf, port=4949)
    # What a master says.
    wire.run("sh", "-c", "(sleep 1; echo 'cap multigraph'; sleep 1; echo list; sleep 1; echo quit) | socat - TCP:127.0.0.1:4949", check=False)


def collectd(wire):
    sink = wire.file("sink", f'BaseDir "{wire.folder}/a"\nPIDFile "{wire.folder}/a.pid"\nLoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "25826"\n</Plugin>\n')
    source = wire.file("source", f'Hostname "host.example.net"\nBaseDir "{wire.folder}/b"\nPIDFile "{wire.folder}/b.pid"\nInterval 1\nLoadPlugin load\nLoadPlugin network\n<Plugin network>\nServer "127.0.0.1" "25826"\n</Plugin>\n')
    wire.start("collectd", "-f", "-C", sink, port=25826)
    # It sends what it has when it stops.
    wire.run("timeout", "5", "collectd", "-f", "-C", source, check=False)


def zabbix(wire):
    conf = wire.file("agent", "Server=127.0.0.1\nListenIP=127.0.0.1\nAllowRoot=1\nLogType=console\n")
    wire.start("zabbix_agentd", "-f", "-c", conf, port=10050)
    wire.run("zabbix_get", "-s", "127.0.0.1", "-k", "agent.ping", check=False)


def nats(wire):
    wire.start("nats-server", "-a", "127.0.0.1", "-p", "4222", port=4222)
    # What clients say, by nats-server's own documentation of the protocol.
    said = r'''sleep 1; printf 'CONNECT {"verbose":false,"lang":"c"}\r\nPING\r\n'; sleep 1; printf 'SUB a 1\r\nPUB a 2\r\nhi\r\n'; sleep 1'''
    wire.run("sh", "-c", f"({said}) | socat - TCP:127.0.0.1:4222", check=False)


def discovery(wire):
    wire.cable()
    wire.run("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
    wire.there("ip", "address", "add", "192.0.2.2/24", "dev", "v1")
    wire.start("wsdd", "-4", "-i", "v0", "-n", "nas")
    time.sleep(1)
    wire.there("timeout", "4", "wsdd", "-4", "-i", "v1", "-D", "-o", "-v", check=False)


def ssdp(wire):
    wire.cable()
    wire.run("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
    wire.there("ip", "address", "add", "192.0.2.2/24", "dev", "v1")
    for space in (wire.run, wire.there):
        space("ip", "route", "add", "239.0.0.0/8", "dev", "v0" if space == wire.run else "v1")
    conf = wire.file("minidlna", f"network_interface=v0\nmedia_dir={wire.folder}/media\ndb_dir={wire.folder}/db\nlog_dir={wire.folder}\nport=8200\n")
    os.makedirs(wire.file("media"))
    os.makedirs(wire.file("db"))
    wire.start("minidlnad", "-S", "-f", conf, "-P", wire.file("pid"), port=1900)
    wire.there("timeout", "6", "gssdp-discover", "-i", "v1", "--timeout=4", check=False)


def netbios(wire):
    wire.cable()
    wire.run("ip", "address", "add", "192.0.2.1/24", "brd", "+", "dev", "v0")
    wire.there("ip", "address", "add", "192.0.2.2/24", "brd", "+", "dev", "v1")
    for name in ["state", "cache", "lock", "private", "pid", "ncalrpc"]:
        os.makedirs(wire.file(name))
    folders = "".join(f"{key} = {wire.folder}/{name}\n" for key, name in [
        ("state directory", "state"), ("cache directory", "cache"), ("lock directory", "lock"),
        ("private dir", "private"), ("pid directory", "pid"), ("ncalrpc dir", "ncalrpc")])
    conf = wire.file("smb", f"[global]\nnetbios name = NAS\nworkgroup = HOME\ninterfaces = v0\nbind interfaces only = yes\n{folders}")
    wire.start("nmbd", "-F", "--no-process-group", "-s", conf)
    time.sleep(6)
    wire.there("nmblookup", "-B", "192.0.2.255", "NAS", check=False)


def whois(wire):
    wire.start("socat", "TCP-LISTEN:43,bind=127.0.0.1,fork,reuseaddr", "SYSTEM:read a; echo no match", port=43)
    wire.run("whois", "-h", "127.0.0.1", "-p", "43", "example.com", check=False)


def l2tp(wire):
    for number in (1, 2):
        role = "[lns default]\nip range = 192.0.2.10-192.0.2.20\nlocal ip = 192.0.2.1\n"
        if number == 2:
            role = "[lac there]\nlns = 127.0.0.1\nautodial = yes\n"
        conf = wire.file(f"l2tp{number}", f"[global]\nlisten-addr = 127.0.0.{number}\n{role}pppoptfile = {wire.file('ppp', '')}\n")
        wire.start("xl2tpd", "-D", "-c", conf, "-p", wire.file(f"pid{number}"), "-C", wire.file(f"ctl{number}"))
        time.sleep(1)
    time.sleep(3)


def dtls(wire):
    key, certificate = wire.file("key"), wire.file("certificate")
    subject = ["-subj", "/CN=dtls.example.org", "-days", "30", "-nodes", "-newkey", "rsa:2048"]
    wire.run("openssl", "req", "-x509", "-keyout", key, "-out", certificate, *subject)
    wire.start("openssl", "s_server", "-dtls1_2", "-accept", "4433", "-key", key, "-cert", certificate, port=4433, stdin=subprocess.PIPE)
    client = "sleep 2 | timeout 4 openssl s_client -dtls1_2 -connect 127.0.0.1:4433 -servername dtls.example.org"
    wire.run("sh", "-c", client, check=False)


SINE = ["-re", "-f", "lavfi", "-i", "sine=duration=3"]


def rtmp(wire):
    wire.start("ffmpeg", "-loglevel", "error", "-listen", "1", "-i", "rtmp://127.0.0.1:1935/live/a", "-f", "null", "-", port=1935, stdin=subprocess.DEVNULL)
    wire.run("ffmpeg", "-loglevel", "error", *SINE, "-c:a", "aac", "-f", "flv", "rtmp://127.0.0.1:1935/live/a", check=False)


def rtsp(wire):
    wire.start("ffmpeg", "-loglevel", "error", "-rtsp_flags", "listen", "-i", "rtsp://127.0.0.1:8554/a", "-f", "null", "-", port=8554, stdin=subprocess.DEVNULL)
    wire.run("ffmpeg", "-loglevel", "error", *SINE, "-c:a", "pcm_mulaw", "-f", "rtsp", "-rtsp_transport", "tcp", "rtsp://127.0.0.1:8554/a", check=False)


def game(kind, port):
    def play(wire):
        # Nobody answers; what is asked is enough.
        wire.start("socat", "-u", f"UDP4-RECV:{port},bind=127.0.0.1", "-", port=port)
        wire.run("quakestat", "-timeout", "2", f"-{kind}", f"127.0.0.1:{port}", check=False)

    return play


def coap(wire):
    wire.start("coap-server-notls", "-A", "127.0.0.1", "-p", "5683", port=5683)
    wire.run("coap-client-notls", "-m", "get", "coap://127.0.0.1/time", check=False)


def modbus(wire):
    server = (
        "from pymodbus.server import StartTcpServer\n"
        "from pymodbus.datastore import ModbusSequentialDataBlock as B, ModbusSlaveContext as S, ModbusServerContext as C\n"
        "StartTcpServer(context=C(slaves=S(hr=B(0, [17] * 100)), single=True), address=('127.0.0.1', 502))\n"
    )
    client = (
        "from pymodbus.client import ModbusTcpClient\nc = ModbusTcpClient('127.0.0.1', port=502)\nc.connect()\n"
        "c.read_holding_registers(1, 5, slave=1)\nc.write_register(3, 9, slave=1)\nc.read_coils(500, 9, slave=1)\n"
    )
    wire.start("/usr/bin/python3", "-c", server, port=502)
    wire.run("/usr/bin/python3", "-c", client, check=False)


def cassandra(wire):
    wire.start("socat", "TCP-LISTEN:9042,bind=127.0.0.1,fork,reuseaddr", "SYSTEM:sleep 3", port=9042)
    client = "from cassandra.cluster import Cluster\nCluster(['127.0.0.1'], connect_timeout=2).connect()\n"
    wire.run("/usr/bin/python3", "-c", client, check=False)


def tds(wire):
    wire.start("socat", "TCP-LISTEN:1433,bind=127.0.0.1,fork,reuseaddr", "SYSTEM:sleep 3", port=1433)
    wire.run("timeout", "5", "tsql", "-H", "127.0.0.1", "-p", "1433", "-U", "sa", "-P", "secret", check=False, input=b"")


def rabbit(wire, port):
    environment = {
        **os.environ, "HOME": wire.folder, "RABBITMQ_NODENAME": "rabbit@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": wire.folder, "RABBITMQ_LOG_BASE": wire.folder,
        "RABBITMQ_ENABLED_PLUGINS_FILE": wire.file("plugins", "[rabbitmq_stomp]."),
    }
    wire.start("/usr/lib/rabbitmq/bin/rabbitmq-server", env=environment, port=port, within=90)
    time.sleep(3)


def amqp(wire):
    rabbit(wire, 5672)
    wire.run("amqp-declare-queue", "-u", "amqp://guest:guest@127.0.0.1", "-q", "a", check=False)


def stomp(wire):
    rabbit(wire, 61613)
    client = (
        "import stomp, time\nc = stomp.Connection([('127.0.0.1', 61613)])\nc.connect('guest', 'guest', wait=True)\n"
        "c.subscribe('/queue/a', id=1)\nc.send('/queue/a', 'hello')\ntime.sleep(1)\nc.disconnect()\n"
    )
    wire.run("/usr/bin/python3", "-c", client, check=False)


def bfd(wire):
    wire.cable()
    wire.run("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
    wire.there("ip", "address", "add", "192.0.2.2/24", "dev", "v1")
    for number, other, device in [(1, 2, "v0"), (2, 1, "v1")]:
        conf = wire.file(f"bird{number}", f'router id 192.0.2.{number};\nprotocol device {{}}\nprotocol bfd {{ interface "{device}" {{ interval 200 ms; }}; neighbor 192.0.2.{other} dev "{device}"; }}\n')
        bird = ["bird", "-f", "-c", conf, "-s", wire.file(f"bird{number}.ctl")]
        if number == 1:
            wire.start(*bird)
        else:
            wire.there("timeout", "6", *bird, check=False)


def composed(write, version, install):
    """Messages of protocols that no program of Debian speaks without much around it."""
    install("python3-scapy")
    from scapy.all import raw
    from scapy.contrib.diameter import DiamReq
    from scapy.contrib.ldp import LDP, LDPHello
    from scapy.contrib.tacacs import TacacsAuthenticationStart, TacacsHeader
    from scapy.layers.hsrp import HSRP
    from scapy.layers.pptp import PPTPOutgoingCallRequest, PPTPStartControlConnectionReply, PPTPStartControlConnectionRequest

    origin = f"scapy {version('python3-scapy')} (Debian)"
    write("hsrp/scapy.txt", origin, [("client", raw(HSRP(state=16, group=7, virtualIP="192.0.2.254")))])
    write("ldp/scapy.txt", origin, [("client", raw(LDP(id="192.0.2.1") / LDPHello(id=1, params=[15, 0, 0])))])
    pptp = [("client", PPTPStartControlConnectionRequest()), ("server", PPTPStartControlConnectionReply()), ("client", PPTPOutgoingCallRequest())]
    write("pptp/scapy.txt", origin, [(who, raw(message)) for who, message in pptp])
    header = TacacsHeader(type=1, session_id=0x12345678)
    start = TacacsAuthenticationStart(user=b"joe", port=b"tty0", rem_addr=b"192.0.2.9")
    write("tacacs/scapy.txt", origin, [("client", raw(header / start))])
    asked = DiamReq("Capabilities-Exchange", drAppId=0, drHbHId=1, drEtEId=2, avpList=[])
    write("diameter/scapy.txt", origin, [("client", raw(asked))])

    install("python3-hpack")
    from hpack import Encoder
    from hpack.huffman import HuffmanEncoder
    from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

    fields = [
        (":method", "GET"), (":scheme", "http"), (":path", "/a/index.html?x=~{1}"), (":authority", "www.example.com"),
        ("user-agent", "curl/7.88.1"), ("accept", "*/*"), ("x-odd", "ü"),
    ]
    blocks = [(label, Encoder().encode(fields, huffman=label == "huffman")) for label in ("plain", "huffman")]
    blocks.append(("bytes", HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(bytes(range(256)))))
    write("http2/hpack.txt", f"python3-hpack {version('python3-hpack')} (Debian)", blocks)


def exported(write, read):
    """Datagrams of exporters, which record.sh of the export folder recorded."""
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "export")
    for file, name in [("netflow/softflowd.txt", "softflowd-v9.pcap"), ("sflow/pmacct.txt", "pmacct-sflow.pcap")]:
        write(file, f"tests/data/export/{name}", [("client", payload) for payload in read(os.path.join(folder, name))[:2]])


def http2(wire):
    conf = wire.file(
        "nginx",
        f"""daemon off; user root; pid {wire.folder}/pid; error_log stderr; events {{}}
http {{ access_log off; client_body_temp_path {wire.folder}/1; proxy_temp_path {wire.folder}/2; fastcgi_temp_path {wire.folder}/3;
uwsgi_temp_path {wire.folder}/4; scgi_temp_path {wire.folder}/5; types {{ text/html html; }} default_type text/html;
server {{ listen 127.0.0.1:8080 http2; root {wire.folder}; }} }}
""",
    )
    wire.start("nginx", "-c", conf, port=8080)
    wire.run("curl", "-sS", "--http2-prior-knowledge", "-u", "joe:secret", "http://127.0.0.1:8080/none.exe?x=1")
