"""The dashboard: pages for people, and what these pages ask, on the admin listener alone.

In: requests for `/dashboard/...`, with cookies. Out: our own static files; answers in the v4 envelope, or a `Deny`.
Called by: `server`, through its port `Dashboard`. Tokens themselves the pages get from the token API, as every client:
there a session counts as its token's bearer (`server/session.py`).
Rules in every file: what a page is told, the token that signed in might have asked for itself; a change is heard only
from our own page; nothing comes from elsewhere, and no file is made at run time.

    GET POST DELETE  /dashboard/api/session               who has signed in; sign in; sign out
    GET              /dashboard/api/resources             zones and accounts with their names, as the token sees them
    GET              /dashboard/api/templates             the usual tokens
    POST             /dashboard/api/summary[?token_id=]   a token's body in plain words, or all its faults
    GET              /dashboard/api/tokens/{id}/denials   the last requests that were refused to a token
    GET              /dashboard/api/tokens/{id}/usage     how often a token was used, day by day
"""
