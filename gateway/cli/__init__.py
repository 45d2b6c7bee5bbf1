"""The `zonegate` command.

In: arguments, settings, `ZONEGATE_URL` and `ZONEGATE_TOKEN`. Out: tables for people, `--json` for programs; exit code
0 done, 1 refused, 2 wrong use. Called by: a person, a script.
Rules in every file: the commands for tokens talk to the token API, as any client does; only `serve`, `init`, `demo`,
`freeze`, `thaw` and `store` open the store; an error is one line on standard error, never a traceback; a secret is
printed once, to standard output.
"""
