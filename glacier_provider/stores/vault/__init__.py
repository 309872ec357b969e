"""Vaults of the original Glacier API: `store` is the contract's implementation, `calls` asks the vault.

`descriptions` is what an archive says of itself, `inventory` what the vault holds, `jobs` and `output` retrievals and
what they bring, `upload` and `stream` archives on their way in.
"""
