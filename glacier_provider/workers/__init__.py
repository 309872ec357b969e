"""Many small files at once: processes that read, hash, sign and send, so that one interpreter is not the limit.

`crew.py` is the side of the task, `upload.py` the process, `frames.py` what they say to each other. A process gets its
work and its credentials through its pipe, and its environment holds none of the task's secrets. It knows success
alone: what it cannot prove to be stored is handed back, and the task sends it on the careful path.
"""
