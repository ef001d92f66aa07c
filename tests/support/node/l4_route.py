"""TCPRoutes and UDPRoutes of Service echo, and a client that counts which pods answer."""

TCP = """
import collections, json, socket, time
found = collections.Counter()
for _ in range({count}):
    try:
        with socket.create_connection(("echo.app", {port}), timeout=5) as s:
            s.sendall(b"x\\n")
            found[json.loads(s.makefile().readline())["pod"].split("-")[0]] += 1
    except OSError as error:
        found[type(error).__name__] += 1
    time.sleep(1 / 300)
print(json.dumps(found))
"""


def l4_route(kind: str, port: int, *backends: tuple[str, int]) -> str:
    refs = ", ".join(f"{{name: {name}, port: {port}, weight: {weight}}}" for name, weight in backends)
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: r, namespace: app}}
spec:
  parentRefs: [{{group: "", kind: Service, name: echo, port: {port}}}]
  rules: [{{backendRefs: [{refs}]}}]
"""
