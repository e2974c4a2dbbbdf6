"""Which peers take part where, in the order of the tables."""

from loadtest.peers.bare import BARE_H2, BARE_HTTP1, BARE_SSE, BARE_WS
from loadtest.peers.go import GO, GO_HIJACKED
from loadtest.peers.nginx import NGINX
from loadtest.peers.ours import OURS, OURS_WS
from loadtest.peers.quart import QUART
from loadtest.peers.websocket import TRIO_WEBSOCKET, WEBSOCKETS

#: hold devices, by transport
DEVICE_PLANE = {
    "sse": (OURS, BARE_SSE, GO, GO_HIJACKED, NGINX, QUART),
    "ws": (OURS_WS, BARE_WS, TRIO_WEBSOCKET, WEBSOCKETS),
}
#: hold devices, and answer a push as APNs does (200; Nchan says 201 or 202), by transport
WHOLE_WAY = {"sse": (OURS, BARE_SSE, GO, GO_HIJACKED), "ws": (OURS_WS, BARE_WS)}
#: take pushes over HTTP/2 without TLS
H2_INTAKE = (OURS, BARE_H2, NGINX, QUART)
#: take pushes over HTTP/1.1
HTTP1_INTAKE = (OURS, BARE_HTTP1, GO, NGINX, QUART)
