"""`python -m polyhead`: the command `polyhead`, for launchers that start modules."""

import sys

from polyhead.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
