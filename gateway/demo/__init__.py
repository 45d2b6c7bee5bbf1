"""The demo upstream: a small Cloudflare-shaped API in memory, which stands behind the gateway.

In: HTTP requests under /client/v4 that carry its own credential (`Authorization: Bearer ...`).
Out: the v4 envelope, or a zone file for an export; beside them a journal of all that arrived.
Called by: `zonegate demo`, which runs `python -m gateway.demo.upstream` as a process of its own; tests, which
build the application with `upstream.make_upstream` and read the journal.
Rules in every file: nothing comes from the rest of the gateway but `child_process`, since what stands behind
it must not share its mistakes; data lives in memory only; a "no" is a row of `fault.Fault`. `record`, `zone`,
`zone_file`, `listing`, `billing` and `dataset` do no I/O and read no clock.
"""
