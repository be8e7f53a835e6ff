"""Wait for a store's leader: poll with growing intervals, up to a deadline."""

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
    """Call `look` until it returns a text other than "", and return that text: the leader.

    look: queries the store, and adds what it saw to the list that it gets, for the error message.
    connection: the connection that `look` uses. Once it is lost, the wait ends.
    what: the end of the error "TITLE has ...". errors: exceptions of `look` to retry, besides the transport's.

    Raises StoreError after a minute.
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
            cause="store-no-leader",
            host=connection.name,
            answer=shown("\n".join(seen) if last is None else f"{type(last).__name__}: {last}", 600),
            cure=cure,
        ) from None
