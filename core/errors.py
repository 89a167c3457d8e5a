"""The one error that users see, and how a command ends with it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from export.runtime.errors import InputFault as InputFault
from export.runtime.errors import first_line as first_line


class UserError(Exception):
    """Something that the user can mend; the message is one plain sentence that names the file."""


def run_command(command: Callable[[], None]) -> int:
    """Run a command; a ``UserError`` becomes one line on stderr and exit code 2."""
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0
