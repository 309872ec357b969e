"""Vaults of the original Glacier API: archives whose ids the vault invents.

In the order of reading: `store`, the contract's implementation, with the rules that keep an archive from being there
twice; `calls` (what may be sent twice, and what errors mean), `descriptions` (what an archive says of itself), `upload`
(in parts) and `stream` (while it is being made), `jobs` and `output` (retrievals and what they bring), `inventory`
(what the vault holds).
"""
