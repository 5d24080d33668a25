"""The one error that every room's errors descend from; it knows nothing of the rooms."""

from __future__ import annotations


class PipelineError(Exception):
    """A fault that a user can mend.

    The message says what happened, quotes the value, says what was expected and what to do.
    A command prints it as one red line and exits with 1; `--debug` shows the traceback.
    """
