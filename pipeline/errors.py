"""The base class of all errors that the pipeline reports to users."""

from __future__ import annotations


class PipelineError(Exception):
    """An error that users can fix.

    The message names the file and the value, and says what was expected and what to do. A command
    prints it as one red line and exits with status 1; `--debug` shows the traceback.
    """
