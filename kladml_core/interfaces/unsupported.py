"""What the optional methods of the interfaces raise where a backend has no such thing."""

from __future__ import annotations


class UnsupportedOperation(Exception):
    """The backend cannot do this; whoever called does without, and says so.

    `kladml_core.errors.NotSupportedError` is one of these too, so that catching this class catches both.
    """
