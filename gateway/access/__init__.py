"""Yes or no, pure: `decide(question) -> Allow | Deny | Need`.

In: a principal whose secret was proved, the client's address, the matched route, the time, facts that were fetched.
Out: a decision. Called by: `server` for each request. `compiled.py` is what the store's cache keeps of a token for it.
Rules in every file: no I/O, no clock, no settings, no logger. Only `principal.py` makes a `Principal`, only `decide` an
`Allow`. What is not known to be allowed is denied, with one reason.
"""
