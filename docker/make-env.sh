#!/bin/sh
# Make .env from .env.example, with a random value wherever that has none.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
  echo ".env is there already; nothing was changed." >&2
  exit 1
fi
umask 077
while IFS= read -r line; do
  case $line in
    AIRFLOW_FERNET_KEY=) line=$line$(openssl rand -base64 32 | tr '+/' '-_') ;;
    AIRFLOW_*_KEY= | AIRFLOW_*_SECRET=) line=$line$(openssl rand -hex 32) ;;
    *_PASSWORD=) line=$line$(openssl rand -hex 24) ;;
  esac
  printf '%s\n' "$line"
done <.env.example >.env.new
mv .env.new .env
echo "Made .env. The login at the UI: user admin, AIRFLOW_ADMIN_PASSWORD in .env."
