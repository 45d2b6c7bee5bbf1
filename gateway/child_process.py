"""Child processes that end with us: the embedded server, the demo upstream."""

import ctypes
import os
import signal
import subprocess
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent: int | None = None, number: signal.Signals = signal.SIGTERM) -> None:
    """From now on signal `number` comes when the parent ends, even by SIGKILL (Linux, prctl(2)).

    Ends at once if it has ended already. "Parent" is the thread that started us: a caller starts its children from
    the main thread. Elsewhere than on Linux nothing happens: the next start adopts an embedded server that was left.
    `parent`: its pid, where the caller knew it before the fork.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != expected:  # it ended before the kernel knew
        os._exit(1)


def spawn(arguments: list[str], **options: object) -> "subprocess.Popen[str]":
    """Start a child in a session of its own (a Ctrl-C on the terminal is for us, and we end the child), which on Linux
    dies with us.
    """
    parent = os.getpid()
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # noqa: S603 - no shell, our own arguments
        arguments,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        # SIGKILL: a stopped child has to go too. The store writes each change to the disk before it says so.
        preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),  # noqa: PLW1509 - no thread has been started yet
        **options,
    )


def end(child: "subprocess.Popen[str]", timeout: float = 10.0) -> None:
    """Ask `child` to end, and make it."""
    child.terminate()
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
