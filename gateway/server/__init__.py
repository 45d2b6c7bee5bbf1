"""Where requests come in and answers go out.

In: connections. Out: answers, each of them relayed from an upstream, made by the token API, or out of the table of
refusals. Called by: `app.py`, which hands in the store, the catalogue, the proxy and the token API.
Rules in every file: what decides is called, never written here; every await on a peer has a deadline; nothing that
aiohttp's parser read is believed before `head.py` judged it; what fails unexpectedly is a 503, and logged.
"""
