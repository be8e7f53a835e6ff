"""Hosts side by side: one thread for each, as measured best for SSH up to a hundred hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import InternalError, ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

T = TypeVar("T")


def bounded(tried: str, do: Callable[[str], T]) -> Callable[[str], T]:
    """`do`, which only evaluates what one host says, with a bug that it meets as this host's InternalError.

    Only where the errors of a host are reported, and nothing is read or written: a bug in the middle of that stops the run.
    tried: what is done, for people.
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
    """What is evaluated of many hosts together; without the one host whose data bring out a bug, which is its InternalError.

    A bug that no host's absence avoids propagates.
    """
    try:
        return evaluate(names), None
    except ProvisionerError:
        raise
    except Exception as error:
        for name in names:
            with suppress(Exception):  # then it is not this host's alone
                return evaluate([other for other in names if other != name]), InternalError(
                    error, host=name, tried=tried
                )
        raise


def each(names: Iterable[str], do: Callable[[str], T], at_once: int = 0) -> dict[str, T | ProvisionerError]:
    """What `do` gave for each name, or the project's own error that it raised; anything else is a bug and propagates.

    at_once: at most so many run side by side, in the order of `names`; 0: all of them.
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
