"""Ctrl-C and SIGTERM as a wish: the step that runs is finished and saved first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopper:
    """In a `with`: after `listen`, the first Ctrl-C or SIGTERM sets `asked`, which the loop reads; it is passed on at the end."""

    def __init__(self) -> None:
        self.asked: int | None = None  # the signal's number
        here = threading.current_thread() is threading.main_thread()  # only there can handlers be set
        self._before: dict[int, Any] = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM) if here}

    def listen(self) -> None:
        """From now on a signal is only a wish."""
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # as in what a shell script starts with &
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        signal.signal(number, self._before[number])  # the second one stops at once

    def __enter__(self) -> Stopper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked is not None and error is None:
            signal.raise_signal(self.asked)
