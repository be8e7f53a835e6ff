"""Work on hosts in parallel, one thread for each host: measured as the fastest way for SSH up to a hundred hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import InternalError, ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

T = TypeVar("T")


def bounded(tried: str, do: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap `do`, so that a bug in it becomes the host's InternalError and the other hosts continue.

    Use it only if `do` evaluates a host's data without reading or writing, and if the caller reports errors for each host.
    A bug during reading or writing must stop the run. tried: the name of the operation, for people.
    """

    def guarded(name: str) -> T:
        try:
            return do(name)
        except ProvisionerError:
            raise
        except Exception as error:
            raise InternalError(error, host=name, tried=tried) from error

    return guarded


def blamed(
    names: Collection[str], evaluate: Callable[[Collection[str]], T], tried: str
) -> tuple[T, InternalError | None]:
    """Evaluate the data of many hosts together. If one host's data trigger a bug, evaluate without that host.

    Return the result, and that host's InternalError or None. Raises the bug's own exception if leaving out a single host
    does not avoid it. tried: the name of the operation, for people.
    """
    try:
        return evaluate(names), None
    except ProvisionerError:
        raise
    except Exception as error:
        for name in names:
            with suppress(Exception):  # this host is not the only trigger
                return evaluate([other for other in names if other != name]), InternalError(
                    error, host=name, tried=tried
                )
        raise


def each(names: Iterable[str], do: Callable[[str], T], at_once: int = 0) -> dict[str, T | ProvisionerError]:
    """Return the result of `do` for each name, or the ProvisionerError that it raised. Other exceptions propagate.

    at_once: how many run at the same time at most, in the order of `names`; 0: all of them.
    """
    names = list(names)

    def one(name: str) -> T | ProvisionerError:
        try:
            return do(name)
        except ProvisionerError as error:
            return error

    if not names:
        return {}
    pool = ThreadPoolExecutor(max_workers=min(len(names), at_once or len(names)), thread_name_prefix="host")
    try:
        return dict(zip(names, pool.map(one, names), strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C must not wait for hosts
