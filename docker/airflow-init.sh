#!/bin/bash
# Runs once before the other services, at every `up`: each step may be repeated.
set -euo pipefail
glacier-backup applications # a mistake in applications.yaml shows here, not at night
airflow db migrate
airflow pools set glacier "$GLACIER_POOL_SLOTS" "Tasks of glacier_backup__* and glacier_restore__* at a time"
