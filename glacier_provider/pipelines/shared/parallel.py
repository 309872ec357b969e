"""Work done many at a time, with a bounded number under way."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from glacier_provider.errors import GlacierProviderError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: A mapped task is worth its start from this many files on.
SMALLEST_SHARE = 500
MEANWHILE_SECONDS = 1.0
_END: Final = object()


def in_parallel(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    workers: int,
    meanwhile: Callable[[], object] = lambda: None,
) -> Generator[tuple[_Item, _Result | GlacierProviderError]]:
    """Yield (item, result) as they end, those that ended together in the order of `items`, `workers` at a time; an
    error of our family is a result, any other is raised.

    At most twice `workers` items are taken from `items` beforehand, so that its memory does not depend on their
    number. While nothing ends, `meanwhile` is called every `MEANWHILE_SECONDS`. When the caller stops listening, what
    is under way is finished and nothing more is begun.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="glacier") as pool:
        under_way: dict[Future[_Result], _Item] = {}
        try:
            for item in items:
                under_way[pool.submit(work, item)] = item
                while len(under_way) >= 2 * workers:
                    yield from _ended(under_way, meanwhile)
            while under_way:
                yield from _ended(under_way, meanwhile)
        finally:
            for future in under_way:
                future.cancel()


def _ended(
    under_way: dict[Future[_Result], _Item], meanwhile: Callable[[], object]
) -> Iterator[tuple[_Item, _Result | GlacierProviderError]]:
    while not (done := wait(under_way, timeout=MEANWHILE_SECONDS, return_when=FIRST_COMPLETED).done):
        meanwhile()
    ended = [(under_way.pop(future), future) for future in [*under_way] if future in done]
    foreign: BaseException | None = None
    for item, future in ended:
        error = future.exception()
        if error is not None and not isinstance(error, GlacierProviderError):
            foreign = foreign or error  # raised when the caller has the results that ended with it
        elif error is not None:
            _let_go(error)
            yield item, error
        else:
            yield item, future.result()
    if foreign is not None:
        raise foreign


def _let_go(error: BaseException | None) -> None:
    """Let go of what the functions held that an error came through, as the bytes of a file: many errors may be kept."""
    known: set[int] = set()
    while error is not None and id(error) not in known:
        known.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def one_ahead(items: Iterator[_Item]) -> Generator[_Item]:
    """Yield items, each while another thread makes the next one. Raises what making one raises, in its place."""
    with ThreadPoolExecutor(1, thread_name_prefix="glacier-ahead") as thread:
        following = thread.submit(next, items, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]


def in_time(work: Callable[[], _Result], seconds: float) -> _Result:
    """Return what `work` returns, or raise what it raises; raise TimeoutError when it takes longer.

    Then it is left to itself, in a thread that keeps no process alive: for what may hang and changes nothing of ours.
    """
    ended: Future[_Result] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            ended.set_exception(error)

    threading.Thread(target=run, name="glacier-in-time", daemon=True).start()
    return ended.result(timeout=seconds)
