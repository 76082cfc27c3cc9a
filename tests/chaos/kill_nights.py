"""`make chaos`: kill a night at random moments, run it again, and see that nothing but time was lost.

A small shop on a real S3 server (SeaweedFS). First a night that nobody disturbs; then nights that lose their whole process
group to SIGKILL at seeded random moments (after some time, after some request to S3, inside some step, in the midst of the
upload of `.out`), again and again, until each has come to its end; then one whose every request to S3 may be throttled, reset
or answered in vain. At every moment the `.out` object is absent or whole; after every kill all that a manifest names is there,
byte for byte, and no process is left; in the end all nights have the same `.out`, the same files, and no unfinished upload.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from fault_proxy import Rule
from killed_night import OUT, Night
from killed_run import BUCKET, Broken, Place
from small_shop import write_shop

from infra.local_s3 import local_s3

FAULTS = [
    Rule("slow_down", probability=0.05),
    Rule("reset_before", probability=0.01),
    Rule("drop_response", method="PUT|POST|DELETE", probability=0.02),
    Rule("truncate_response", method="GET", probability=0.01),
    Rule("error_after_success", probability=0.01),
]


def chaos(kills: int, seed: int, folder: Path, lines: int, *, warm: bool = False) -> None:
    """Do all of it; prints what happened. Warm: nights that go on after a kill, or on a bad network, have imported all."""
    dice = random.Random(seed)
    with ExitStack() as stack:
        place = Place(stack.enter_context(local_s3(folder / "s3", [BUCKET])), folder)
        stack.callback(place.client.close)
        write_shop(folder / "shop", num_lines=lines)
        for path in (path for path in (folder / "shop").rglob("*") if path.is_file()):
            place.client.upload_file(str(path), BUCKET, f"shop/{path.relative_to(folder / 'shop')}")
        calm = stack.enter_context(Night(place, "calm"))
        calm.begin()
        seconds = calm.finish()
        whole = calm.whole = calm.outputs()
        assert whole[OUT], "the undisturbed night has no output"
        print(f"undisturbed: {seconds:.1f} s, {len(calm.proxy.log)} requests, .out of {len(whole[OUT]):,} bytes", flush=True)
        for number in itertools.count(1):
            if kills <= 0:
                break
            with Night(place, f"wild-{number}") as night:
                night.whole = calm.whole
                kills -= _disturb(night, calm, min(kills, 3), seconds, dice, warm)
        with Night(place, "faulty", FAULTS, seed) as night:
            night.whole = calm.whole
            _run_until_done(night, calm, warm)
        if left := place.unfinished_uploads():
            raise Broken(f"unfinished uploads are left: {left}")
    print("all nights ended with the same bytes; nothing is left", flush=True)


def _disturb(night: Night, calm: Night, kills: int, seconds: float, dice: random.Random, warm: bool) -> int:
    """Kill a night up to so many times, then let it come to its end; gives how often it was killed."""
    for done in range(kills):
        night.begin(warm=warm and done > 0)
        kind = dice.choice(["time", "request", "step", "step"]) if done < 2 else "upload"
        share = dice.random() / (done + 1)  # less is left to do each time
        moment, status = _wait_for(kind, share, night, calm, seconds)
        if status == 0:
            break
        if status is not None:
            raise Broken(f"{night.name}: ended with {status}; its last words:\n{night.said()[-3000:]}")
        step = (night.steps() or ["before the first step"])[-1]
        night.kill()
        uploads = len(night.place.unfinished_uploads())
        print(f"{night.name}: killed after {moment}, in {step}; unfinished uploads: {uploads}", flush=True)
    else:
        done = kills
    night.begin(warm=warm)
    print(f"{night.name}: came to its end in {night.finish():.1f} s more", flush=True)
    _compare(night, calm)
    return done


def _wait_for(kind: str, share: float, night: Night, calm: Night, seconds: float) -> tuple[str, int | None]:
    """Wait for a moment of a kind, so far into the night; gives its name, and the status where the night ended before."""
    if kind == "time":
        return f"{share * seconds:.1f} s", night.wait(seconds=share * seconds)
    if kind == "request":
        number = int(share * len(calm.proxy.log))
        last = len(night.proxy.log) + number
        return f"request {number}", night.wait(until=lambda: len(night.proxy.log) >= last)
    if kind == "upload":
        last = len(night.proxy.log)
        begun = night.wait(until=lambda: any(seen.path.endswith("?uploads") for seen in night.proxy.log[last:]))
        return "the beginning of an upload", begun
    position = share * len(calm.steps())
    step, more = calm.steps()[int(position)], position % 1 * 10
    status = night.wait(until=lambda: step in night.steps())
    return f"{more:.1f} s of {step}", night.wait(seconds=more) if status is None else status


def _run_until_done(night: Night, calm: Night, warm: bool) -> None:
    """A night on a bad network: it may fail with a clear message, and is run again then."""
    for attempt in range(1, 6):
        night.begin(warm=warm)
        status = night.wait()
        said = night.said()
        if status == 0:
            struck = sum(seen.fault is not None for seen in night.proxy.log)
            night.finish()
            _compare(night, calm)
            return print(
                f"{night.name}: run {attempt} came to its end; {struck} of {len(night.proxy.log)} requests were struck"
            )
        if status != 1 or "Traceback" in said:
            raise Broken(f"{night.name}: ended with {status}:\n{said[-3000:]}")
    raise Broken(f"{night.name}: never came to its end:\n{said[-3000:]}")


def _compare(night: Night, calm: Night) -> None:
    if night.outputs() != calm.whole:
        raise Broken(f"{night.name}: its .out differs from the undisturbed night's")
    extra, missing = set(night.layout()) - set(calm.layout()), set(calm.layout()) - set(night.layout())
    if extra or missing:
        raise Broken(f"{night.name}: files that should not be there: {sorted(extra)}; missing: {sorted(missing)}")


def main() -> None:
    """Run it on a folder that goes afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=50_000, help="of the batch input; enough for an upload in parts")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hrnn-chaos-") as folder:
        try:
            chaos(options.kills, options.seed, Path(folder), options.lines)
        except Broken as broken:
            sys.exit(f"chaos: seed {options.seed}: {broken}")


if __name__ == "__main__":
    main()
