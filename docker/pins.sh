#!/bin/sh
# Renew docker/requirements.txt: the pins that CeleryExecutor needs beyond constraints.txt. Needs `make setup`.
set -eu
cd "$(dirname "$0")/.."
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
# Celery 5.7 lacks a function that the provider imports (3.26.0: `celery.backends.database.retry`).
printf '%s\n' apache-airflow-providers-celery 'celery[redis]<5.7' |
  .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 -c constraints.txt \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links - | sed 's/ *;.*//' | LC_ALL=C sort -u >"$pins"
{
  sed -n 1p docker/requirements.txt
  LC_ALL=C sort -u constraints.txt | LC_ALL=C comm -13 - "$pins"
} >"$pins.new"
mv "$pins.new" docker/requirements.txt
