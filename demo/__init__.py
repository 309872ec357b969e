"""The product shown on this machine: `make demo`.

The parts: `sample_application` (what is to be kept safe), `airflow` (the processes and their REST interface),
`services` (PostgreSQL and the emulated store), `story` (the steps), `report` (what is printed).
The product's code knows nothing of this package; it only gets other connections.
"""
