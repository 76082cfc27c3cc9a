"""torchrun, without its tracebacks: `python -m jobs.train.torchrun ANSWERS TORCHRUN-ARGUMENTS…`

A rank that fails has reported why already (jobs/train/spec.py), or died without a word; then one line says which and how.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from jobs.platform.process.die_with_parent import end_with_parent
from jobs.platform.process.scratch import space_error
from jobs.train.spec import NO_SPACE


def main() -> int:
    """Run torchrun; exit status 0, 1 where a rank failed, 143 where SIGTERM ended it."""
    end_with_parent()
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # torchrun's own account of what its ranks have said already
    logging.disable(logging.ERROR)  # and what it logs past that setting
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousTimeoutError
    from torch.distributed.run import main as torchrun

    answers, arguments = Path(sys.argv[1]), sys.argv[2:]
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == NO_SPACE:
            return NO_SPACE
        how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit status {failure.exitcode}"
        if failure.exitcode == -signal.SIGKILL:
            how += ", most likely for want of memory"
        (answers / "failure.txt").write_text(f"rank {rank} ended with {how}")
        return 1
    except OSError as error:
        if space_error(error) is None:
            raise
        return NO_SPACE
    except RendezvousError as error:
        how = "in time" if isinstance(error, RendezvousTimeoutError) else f"({error})"
        (answers / "failure.txt").write_text(f"the nodes did not meet {how}: {' '.join(arguments[:7])}")
        return 1
    except SignalException:
        return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
