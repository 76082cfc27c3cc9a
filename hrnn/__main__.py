"""`python -m hrnn` is the command `hrnn`: it begins in hrnn_start.py, too, which is above all layers."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location

if __name__ == "__main__":
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != ours:
        del sys.path[0]  # -m puts the folder there that one stands in, which decides nothing (docs/adr/0016)
    spec = spec_from_file_location("hrnn_start", os.path.join(ours, "hrnn_start.py"))  # ours, whoever else's may be found first
    assert spec is not None
    assert spec.loader is not None
    start = module_from_spec(spec)
    spec.loader.exec_module(start)
    start.main()
