"""The fast path to S3: requests of botocore's shape, signed and sent by ourselves.

A botocore request costs some milliseconds of Python; a file of 20 KB costs a tenth of that to read, hash and send.
So botocore makes one request of each kind that is never sent (`shapes.py`), from which the address, the headers, the
proxies and the certificates are taken; after it, libcurl sends requests like it (`sender.py`, `client.py`), each
with a signature of its own (`requests.py`).

The fast path knows success alone: a reply that proves that the store has the bytes. Whatever else comes back is
nothing, and the caller turns to the careful path, which knows what every answer means. See docs/adr/0018.
"""
