#!/bin/bash
# The login of the simple auth manager comes from .env; nobody else may read the file.
set -euo pipefail
umask 077
python - <<'PYTHON'
import json, os
path = os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
with open(path, "w") as file:
    json.dump({os.environ["AIRFLOW_ADMIN_USER"]: os.environ["AIRFLOW_ADMIN_PASSWORD"]}, file)
PYTHON
unset AIRFLOW_ADMIN_PASSWORD
umask 022
exec airflow api-server --host 0.0.0.0 --port 8080 "$@"
