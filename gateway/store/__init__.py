"""What Redis holds, and the server that holds it when nobody runs one.

In: ids, records, changes. Out: `Record`s; `StoreUnavailable` or `Conflict`, never an error of redis-py.
Called by: `app.py`, which hands it to `server` and `admin` as their `TokenStore`.
Rules in every file: each change is one Lua script; keys carry one hash tag, so that a cluster keeps them together;
every command has a time limit; nothing is repeated blindly.
"""
