"""Forwarding what was allowed: an `Allow` comes in, and nothing else can.

In: an `Allow`, the request's fields and body through the port `ClientConnection`. Out: the upstream's answer, relayed
through the same port, or a `Deny` for what the upstream failed to do.
Called by: `server`. Rules in every file: the path judged is the path sent; the client's credential never goes up, the
upstream's never comes down; bodies stream, and are framed anew; a body that was cut is never ended cleanly.
"""
