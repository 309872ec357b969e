"""The fast path to S3: requests of botocore's shape, signed and sent by ourselves.

A botocore request costs some milliseconds of Python; a file of 20 KB costs a tenth of that to read, hash and send.
So botocore makes one request of each kind that is never sent, from which the address, the headers, the proxies
and the certificates are taken (`shapes.py`); requests like it, each with a signature of its own (`requests.py`), are
sent by libcurl (`sender.py`): parts and ranges by threads (`client.py`), many small files by processes (`pool.py`
starts them, `process.py` is one).

The fast path knows success alone: a reply that proves that the store has the bytes. Whatever else comes back is
nothing, and the caller turns to the careful path, which knows what every answer means. See docs/adr/0018.
"""
