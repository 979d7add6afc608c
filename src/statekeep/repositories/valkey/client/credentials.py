"""Credentials that a function provides, anew for each connection."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from attrs import evolve

from ....domain.errors import Portable
from ...options import CredentialProvider, Credentials
from .url import Target

ResultT = TypeVar("ResultT")


class ProviderFailed(Portable):
    """A provider raised an error, which is the cause, or returned no credentials."""


def ask(provider: CredentialProvider) -> Credentials:
    """Return credentials, blocking.

    An asynchronous provider is asked in an event loop of its own.

    Raises:
        ProviderFailed: there are none.
    """
    try:
        found = provider()
        if inspect.isawaitable(found):
            # In a thread, because an event loop may run in this one.
            with ThreadPoolExecutor(1) as thread:
                found = thread.submit(copy_context().run, asyncio.run, _awaited(found)).result()
    except Exception as error:
        raise _failed(error) from error
    return _checked(found)


async def aask(provider: CredentialProvider) -> Credentials:
    """Return credentials. A blocking provider is asked in a thread.

    Raises:
        ProviderFailed: there are none.
    """
    try:
        if inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(type(provider).__call__):
            found: Any = provider()
        else:
            found = await asyncio.to_thread(provider)
        if inspect.isawaitable(found):
            found = await found
    except Exception as error:
        raise _failed(error) from error
    return _checked(found)


async def _awaited(found: Awaitable[ResultT]) -> ResultT:
    return await found


def _failed(error: Exception) -> ProviderFailed:
    # Its text is not shown, which may have a secret in it; who looks for it follows the cause.
    return ProviderFailed(f"it raised {type(error).__name__}")


def _checked(found: Any) -> Credentials:
    if isinstance(found, tuple | list):
        # A password alone is that of the default user, as in valkey-py.
        username, password = (None, *found) if len(found) == 1 else found if len(found) == 2 else (None, None)
        if isinstance(username, str | None) and isinstance(password, str) and password:
            return username or None, password
    raise ProviderFailed("it did not return a pair of a user, which may be None, and a password")


def logged_in(target: Target) -> Target:
    """Return the target with credentials of its provider, if it has one.

    Raises as :func:`ask`.
    """
    if target.credential_provider is None:
        return target
    username, password = ask(target.credential_provider)
    return evolve(target, username=username, password=password)


async def alogged_in(target: Target) -> Target:
    """As :func:`logged_in`, from an event loop."""
    if target.credential_provider is None:
        return target
    username, password = await aask(target.credential_provider)
    return evolve(target, username=username, password=password)
