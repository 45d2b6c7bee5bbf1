"""What `policies/` says, compiled once: permission groups, templates, and the APIs' routes in one table.

In: the texts of the files, by name (`app.py` reads them). Out: a `Catalog`, or `CatalogError` that names file and key.
Called by: `app.py` at start; `access` looks routes up in it.
Rules in every file: no I/O; everything that can be wrong is found here, at load; a request only looks up; what is
judged are the bytes of the request target, and nothing decodes or normalises them.
"""
