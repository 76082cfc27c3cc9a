"""`exchange` without Spark: the same functions, called one after the other, messages in an order that nothing may rely on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs.platform.spark.exchange import Receive, Relay, Send


def plain_exchange(
    spark: Any,
    num_senders: int,
    num_receivers: int,
    send: Send,
    receive: Receive,
    label: str,
    *,
    relays: Sequence[tuple[int, Relay]] = (),
) -> list[bytes]:
    """What `jobs.platform.spark.exchange.exchange` gives."""
    mail: dict[int, list[Any]] = defaultdict(list)
    for sender in reversed(range(num_senders)):
        for target, body in send(sender):
            mail[target].append(pa.py_buffer(body))
    for number, relay in relays:
        assert set(mail) <= set(range(number))
        passed: dict[int, list[Any]] = defaultdict(list)
        for own in reversed(range(number)):
            for target, body in relay(own, iter(mail[own])):
                passed[target].append(pa.py_buffer(body))
        mail = passed
    assert set(mail) <= set(range(num_receivers))
    return [receive(own, iter(mail[own])) for own in range(num_receivers)]
