"""Processes of a world, as far as tests can have them in one: they die, or stand still.

A process that has died makes no more calls and statements: each of them raises `Died`. While one
stands still, a second one takes its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Semaphore, Thread

from bulkgrants.model import Run


class Died(BaseException):
    """The process was killed; nothing in it runs on."""


class Second:
    """A second process in a thread of its own, which runs only while the first stands still."""

    def __init__(self, life: Callable[[Second], None]) -> None:
        self.over = False
        self._turn, self._back = Semaphore(0), Semaphore(0)
        self._left: int | None = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._live, args=(life,))
        self._thread.start()

    def take_turn(self, calls: int | None) -> None:
        """Let it make so many calls, or all that it has. Raises what has ended it."""
        self._left = calls
        self._turn.release()
        self._back.acquire()
        if self.over:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def called(self) -> None:
        """Count a call of this process, which stands still after the last of its turn."""
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._back.release()
            self._turn.acquire()

    def _live(self, life: Callable[[Second], None]) -> None:
        self._turn.acquire()
        try:
            life(self)
        except BaseException as error:  # noqa: BLE001 - raised in the first process's thread
            self._error = error
        finally:
            self.over = True
            self._back.release()


@dataclass
class Process:
    """What a world knows about the process in which a task runs."""

    second: Second | None = None
    """Set if it is the second one; nothing goes wrong in it."""
    at: tuple[Run, int] | None = None
    """The batch that it applies."""
    dead: bool = False

    def die(self) -> None:
        """End the process. Raises Died."""
        self.dead = True
        self.live_on()

    def live_on(self) -> None:
        """Raise Died if the process is dead."""
        if self.dead:
            raise Died


running: ContextVar[Process | None] = ContextVar("running", default=None)
"""The process that the present code belongs to; None outside of tasks."""
