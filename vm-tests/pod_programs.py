"""What runs in the pods of nodes with tunnels: a server, and its clients."""

PORT = 7777
# An echo server for TCP and UDP in both families.
ECHO = f"""
import socket, threading
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", {PORT}))
tcp = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
def answer(made):
    while data := made.recv(65536):
        made.sendall(data)
def listen():
    while True:
        threading.Thread(target=answer, args=(tcp.accept()[0],)).start()
threading.Thread(target=listen).start()
while True:
    data, peer = udp.recvfrom(65536)
    udp.sendto(data, peer)
"""
# What the echo server answers to one message, by protocol and family; or the error.
ASK = f"""
import json, socket, sys
found = {{}}
for address in sys.argv[2:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, kind) as made:
            made.settimeout(float(sys.argv[1]))
            try:
                made.connect((address, {PORT}))
                made.sendall(b"weft-plaintext")
                answer = made.recv(64).decode()
            except OSError as error:
                answer = type(error).__name__
        found[f"{{kind.name}} {{family.name}}"] = answer
print(json.dumps(found))
"""
# Numbered datagrams until a file appears, at least so many; and how many of them no answer came to.
COUNT = f"""
import json, os, socket, sys, time
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.connect((sys.argv[1], {PORT}))
made.setblocking(False)
sent, answered = 0, set()
def read():
    try:
        while True:
            answered.add(int(made.recv(64)))
    except BlockingIOError:
        pass
while not os.path.exists(sys.argv[2]) or sent < int(sys.argv[3]):
    made.send(b"%d" % sent)
    sent += 1
    time.sleep(0.02)
    read()
for _ in range(60):
    if len(answered) < sent:
        time.sleep(1)
        read()
print(json.dumps([sent, sent - len(answered)]))
"""
# So many connections, each with a message and its answer each second, until a file appears; the answers, and how many
# connections failed.
STREAMS = f"""
import json, os, socket, sys, threading, time
answers, failed = [], []
def exchange():
    try:
        with socket.create_connection((sys.argv[1], {PORT}), 60) as made:
            number = 0
            while not os.path.exists(sys.argv[2]):
                made.sendall(b"%08d" % number)
                answer = b""
                while len(answer) < 8:
                    part = made.recv(8 - len(answer))
                    if not part:
                        raise OSError("cut off")
                    answer += part
                assert int(answer) == number, (answer, number)
                number += 1
                time.sleep(1)
        answers.append(number)
    except Exception as error:
        failed.append(repr(error))
        print(repr(error), file=sys.stderr)
threads = [threading.Thread(target=exchange) for _ in range(int(sys.argv[3]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([sum(answers), len(failed)]))
"""
