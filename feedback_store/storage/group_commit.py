"""Many threads, one commit: who comes while a commit is under way shares the next one.

The first caller leads: it begins the transaction, takes all calls that have come until then, and
answers them after the commit, so that one fsync stands for all. Then it makes the first of those
who came meanwhile the next leader.

    DeWitt et al., "Implementation techniques for main memory database systems", SIGMOD 1984
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from feedback_store.errors import StoreError, Unavailable

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Work = Callable[[Connection, Sequence[Request]], Sequence[Answer]]

# So many rows are written in some 20 ms; a longer transaction keeps other processes waiting.
MOST_ROWS = 1_000
ATTEMPTS = 3


class Again(Unavailable):
    """The database undid a transaction for the sake of another; the same may pass now."""


class _Call(Generic[Request, Answer]):
    def __init__(self, request: Request, rows: int) -> None:
        self.request = request
        self.rows = rows
        self.leads = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self._gate = threading.Lock()  # half the cost of an Event
        self._gate.acquire()

    def wake(self) -> None:
        self._gate.release()

    def wait(self) -> None:
        self._gate.acquire()


class GroupCommit(Generic[Request, Answer]):
    """`work(connection, requests)` answers each request, or raises and is asked one by one."""

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        work: Work[Request, Answer],
        meaning: Callable[[Exception], Exception],
    ) -> None:
        self._transaction = transaction
        self._work = work
        self._meaning = meaning
        self._mutex = threading.Lock()
        self._waiting: deque[_Call[Request, Answer]] = deque()
        self._led = False

    def submit(self, request: Request, rows: int) -> Answer:
        """The request's answer, once the commit that covers it is on disk; or its error."""
        call = _Call[Request, Answer](request, rows)
        with self._mutex:
            self._waiting.append(call)
            call.leads = not self._led
            self._led = True
        if not call.leads:
            self._wait(call)
        if call.leads:
            self._lead()
        if call.error is not None:
            raise call.error
        return call.answer  # type: ignore[return-value]

    def _wait(self, call: _Call[Request, Answer]) -> None:
        try:
            call.wait()
        except BaseException:  # interrupted: leave the line, and don't take the lead along
            with self._mutex:
                if call in self._waiting:
                    self._waiting.remove(call)
                if call.leads:
                    self._pass_on()
            raise

    def _lead(self) -> None:
        group: list[_Call[Request, Answer]] = []
        try:
            self._commit(group)
        except BaseException as error:
            if not group:
                self._take(group)
            group[0].error = error
            for follower in group[1:]:
                follower.error = _shared(error)
        finally:
            with self._mutex:
                self._pass_on()
            for call in group:
                call.wake()

    def _commit(self, group: list[_Call[Request, Answer]], attempts: int = ATTEMPTS) -> None:
        try:
            with self._transaction() as connection:
                if not group:  # taken late, so that who comes while the lock is awaited comes along
                    self._take(group)
                self._carry_out(connection, group)
        except Again:
            if attempts == 1:
                raise
            self._commit(group, attempts - 1)

    def _take(self, group: list[_Call[Request, Answer]]) -> None:
        rows = 0
        with self._mutex:
            while self._waiting and (not group or rows + self._waiting[0].rows <= MOST_ROWS):
                group.append(self._waiting.popleft())
                rows += group[-1].rows

    def _pass_on(self) -> None:
        self._led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].wake()

    def _carry_out(self, connection: Connection, group: list[_Call[Request, Answer]]) -> None:
        if len(group) == 1:  # its error ends the transaction, which is nobody else's
            group[0].answer = self._work(connection, [group[0].request])[0]
            return
        try:
            with connection.begin_nested():
                answers = self._work(connection, [call.request for call in group])
            for call, answer in zip(group, answers, strict=True):
                call.answer, call.error = answer, None
        except Exception as error:
            if not _is_of_a_row(error):
                raise
            for call in group:
                self._carry_out_alone(connection, call)

    def _carry_out_alone(self, connection: Connection, call: _Call[Request, Answer]) -> None:
        try:
            with connection.begin_nested():
                call.answer = self._work(connection, [call.request])[0]
        except Exception as error:
            if not _is_of_a_row(error):
                raise
            call.error = self._meaning(error) if isinstance(error, DBAPIError) else error


def _is_of_a_row(error: Exception) -> bool:
    """Whether leaving out the row that raised it would help; a full disk fails all rows."""
    return not isinstance(error, DBAPIError) or isinstance(error, IntegrityError | DataError)


def _shared(error: BaseException) -> Exception:
    """A copy for each thread that raises it, as an exception holds the traceback of one."""
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    return Unavailable(f"the write failed ({type(error).__name__}); send the same again")
