"""What a token is, pure: its parts, its secret, its rules.

In: bytes that a client sent (a body, a credential field), documents that the store read.
Out: `Credential`, `Token`, `Draft`, or the faults of what came in.
Called by: every package above. Nothing here reads a clock, a file, a socket or a setting: the time and random bytes
are arguments.
Rules in every file: a secret hides itself in `repr`; bad input is a value (`Fault`), not an exception; what was sent
is never repeated in a message.
"""
