"""Why the gateway cannot start."""


class StartError(Exception):
    """It cannot start. One line with the remedy."""


class AddressTaken(StartError):  # noqa: N818 - it says what is the case
    """A listener's host and port cannot be had."""


class WorkersFailed(Exception):  # noqa: N818 - it says what is the case
    """No worker could start. One line; the log says more."""
