from __future__ import annotations

import os

from trio_push.workers.files import pair, receive_files, send_files


def test_files_travel_beside_a_message() -> None:
    ours, theirs = pair()
    read, write = os.pipe()
    with ours, theirs:
        send_files(ours, b"one", [write])
        send_files(ours, b"two", [])
        os.close(write)
        message, [received] = receive_files(theirs)
        assert (message, receive_files(theirs)) == (b"one", (b"two", []))
        os.write(received, b"through")
        os.close(received)
        assert os.read(read, 100) == b"through"
        os.close(read)


def test_the_end_is_an_empty_message() -> None:
    ours, theirs = pair()
    ours.close()
    with theirs:
        assert receive_files(theirs) == (b"", [])
