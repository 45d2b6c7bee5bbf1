"""What people see of the gateway while it runs: logs, metrics, health.

In: what the shell did. Out: log lines to standard error, pages of health and metrics. Called by: `server`, `app.py`.
Rules in every file: it never changes an answer; a token is named by its id; nothing that a stranger sends makes more
than one line.
"""
