"""S3: archives as objects of one bucket, each under a key that is written once.

In the order of reading: `store` is the contract's implementation; `keys` names objects, `bucket` asks the questions
that several operations have, `upload` sends large archives in parts, `stream` those that are still being made,
`listing` reads the state of many retrievals, `delete` takes many objects away at once. `fast` sends and reads without
botocore where that is proven to be safe.
"""
