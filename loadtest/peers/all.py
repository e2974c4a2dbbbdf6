"""Which peers take part where, in the order of the tables."""

from loadtest.peers.bare import BARE_H2, BARE_HTTP1, BARE_SSE
from loadtest.peers.go import GO, GO_HIJACKED
from loadtest.peers.nginx import NGINX
from loadtest.peers.ours import OURS
from loadtest.peers.quart import QUART

#: hold devices
DEVICE_PLANE = (OURS, BARE_SSE, GO, GO_HIJACKED, NGINX, QUART)
#: hold devices, and answer a push as APNs does (200; Nchan says 201 or 202)
WHOLE_WAY = (OURS, BARE_SSE, GO, GO_HIJACKED)
#: take pushes over HTTP/2 without TLS
H2_INTAKE = (OURS, BARE_H2, NGINX, QUART)
#: take pushes over HTTP/1.1
HTTP1_INTAKE = (OURS, BARE_HTTP1, GO, NGINX, QUART)
