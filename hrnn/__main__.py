"""`python -m hrnn` is the command `hrnn`: it begins in hrnn_start.py, too, which is above all layers."""

import os
import sys

if __name__ == "__main__":
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != ours:
        del sys.path[0]  # -m puts the folder there that one stands in, which decides nothing (docs/adr/0016)
    from hrnn_start import main

    main()
