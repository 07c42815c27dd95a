"""A new file: whole under its own name or not there at all, and nothing that is there is ever replaced.

Rules: written aside with mode 0600, synced, linked into place, and the directory synced. What goes wrong is said of the
file that was asked for, never of the one aside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system says that knows no second name for a file."""


@contextlib.contextmanager
def new_file(out: Path) -> Iterator[Callable[[bytes], None]]:
    """A way to write `out`, which takes its name when all went well and is gone otherwise.

    Raises OSError with the name of `out`: on entering, where there is such a file (FileExistsError) or none can be
    made; later, where the disk fails or somebody else took the name meanwhile.
    """
    with contextlib.ExitStack() as last:
        with _said_of(out):
            _check_free(out)
            directory = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            last.callback(os.close, directory)
            aside = out.with_name(f".{secrets.token_hex(8)}.new")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            # Unbuffered, so that closing has nothing left to fail at.
            file = last.enter_context(os.fdopen(os.open(aside, flags, 0o600), "wb", buffering=0))
            last.callback(aside.unlink, missing_ok=True)

        def write(content: bytes) -> None:
            with _said_of(out):
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]

        yield write
        with _said_of(out):
            os.fsync(file.fileno())
            give_name(aside, out)
            os.fsync(directory)


def _check_free(out: Path) -> None:
    try:
        out.lstat()
    except FileNotFoundError:
        return
    raise _exists()


def give_name(aside: Path, out: Path) -> None:
    """Give the file `aside` the name `out`, beside its own. Raises FileExistsError where there is such a file; OSError.

    Where a file system knows no second name `aside` loses its own.
    """
    try:
        # Unlike a rename, a link never replaces what somebody else wrote there meanwhile.
        os.link(aside, out)
    except FileExistsError:
        raise _exists() from None
    except OSError as error:
        if error.errno not in _NO_LINKS or os.path.lexists(out):
            raise
        aside.rename(out)


def _exists() -> FileExistsError:
    return FileExistsError(errno.EEXIST, "exists and is not overwritten; give --out a new name")


@contextlib.contextmanager
def _said_of(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from None
