# Subscribes to prefixes (ADDRESS PREFIX...) and prints key and content of what it hears, each in a line.
import base64, sys, zmq

socket = zmq.Context().socket(zmq.SUB)
for prefix in sys.argv[2:]:
    socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
socket.connect(sys.argv[1])
while True:
    key, content = socket.recv_multipart()
    print(key.decode() + "|" + base64.b64decode(content).decode(), flush=True)
