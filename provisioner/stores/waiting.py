"""Waiting for a store's leader: asked again and again, in growing intervals, until there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import StoreError, TimedOut, Unreachable
from provisioner.system.strict import UNFIT, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.transport import Reader

_PATIENCE = 60.0  # seconds; an election takes 2 to 10 s on slow machines


def until_leader(
    look: Callable[[list[str]], str],
    *,
    title: str,
    connection: Reader,
    cure: str,
    errors: tuple[type[Exception], ...] = (),
    what: str = "no leader",
) -> str:
    """What `look` answers as soon as it is not "": the leader. It notes what it sees in the list that it is given.

    connection: what `look` asks over; once that is broken nothing is waited for.
    what: what TITLE has while there is none.
    errors: what it may raise beside the transport's while there is no answer. Raises StoreError after a minute.
    """
    import time

    import tenacity

    seen: list[str] = []

    def looked() -> str:
        seen.clear()
        return look(seen)

    over = tenacity.stop_after_delay(_PATIENCE)
    waits = tenacity.Retrying(
        stop=lambda state: connection.lost or over(state),
        wait=tenacity.wait_exponential(multiplier=0.05, max=0.2),
        retry=tenacity.retry_if_result(lambda found: not found)
        | tenacity.retry_if_exception_type((*errors, *UNFIT, OSError, Unreachable, TimedOut)),
    )
    began = time.monotonic()
    try:
        return str(waits(looked))
    except tenacity.RetryError as error:
        last = error.last_attempt.exception()
        raise StoreError(
            f"{title} has {what} after {time.monotonic() - began:.0f} s",
            host=connection.name,
            answer=shown("\n".join(seen) if last is None else f"{type(last).__name__}: {last}", 600),
            cure=cure,
        ) from None
