"""The one event loop of all asynchronous clients, and a blocking face for them."""

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from typing import Any


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="loop", daemon=True).start()

    def run(self, work: Coroutine, limit: float | None = None) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(limit)
        finally:
            future.cancel()


LOOP = Background()


class Blocking:
    """An asynchronous client whose methods block, so that one case serves both kinds of the published client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        if not inspect.iscoroutinefunction(member):
            return member
        return lambda *args, **kwargs: LOOP.run(member(*args, **kwargs))
