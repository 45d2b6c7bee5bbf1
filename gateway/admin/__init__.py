"""The token API: what operators and Cloudflare's own clients call to make, change and end tokens.

In: an `Allow` for one of the token API's routes, and the call's body and query. Out: an `Answer` in the v4 envelope,
or a `Deny`. Called by: `server`, through its port `TokenApi`.
Rules in every file: a token is seen only among its owner's, the user's or the account's; nobody gives what he hasn't
got; all faults of a body are told at once, and nothing is written then; a secret is shown once, in the answer that made
it.
"""
