"""`serve --workers N`: a supervising parent, the workers it keeps running, and what they share.

    parent ──── fork server ──── worker 1, worker 2, …, and a private redis-server
       └─────────── control channels ───────────┘

The parent opens the listening sockets and decides; the fork server, a plain process without a
loop, forks; each worker is a whole server of its own on the shared sockets.
"""
