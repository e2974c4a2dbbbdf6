"""`python -m trio_push`: the same as the console script `trio-push`."""

import sys

from trio_push.cli import main

if __name__ == "__main__":
    sys.exit(main())
