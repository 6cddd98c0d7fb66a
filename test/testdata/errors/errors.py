# Connects to a host and a port in the ways of Python's library and prints the errors.
import asyncio, http.client, socket, sys, urllib.request

host, port, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


def show(way):
    try:
        way()
    except Exception as e:
        print(f"{type(e).__name__}: {e}")


def plain():
    s = socket.create_connection((host, port), limit)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    s.recv(1)


def web():
    c = http.client.HTTPConnection(host, port, timeout=limit)
    c.request("GET", "/")
    c.getresponse()


show(plain)
show(web)
show(lambda: urllib.request.urlopen(f"http://{host}:{port}/", timeout=limit))
show(lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection(host, port), limit)))
