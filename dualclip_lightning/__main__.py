"""`python -m dualclip_lightning`: the command `dualclip`."""

import sys

from dualclip_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
