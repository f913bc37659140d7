#!/bin/sh
# Makes .env with new secrets for compose.yaml, once: deploy/compose/secrets.sh
#
# Whoever has the file has the system. MySQL's passwords are used when its volume is made; from then on they are changed
# with ALTER USER, so a file that is there is left alone.
set -eu
cd "$(dirname "$0")/../.."
if [ -e .env ]; then
  echo "secrets: .env is there already; nothing was changed" >&2
  exit 1
fi
umask 077
for name in \
  CHAT_JWT_SECRET GRAFANA_PASSWORD \
  REDIS_GATEWAY_PASSWORD REDIS_DELIVERY_WORKER_PASSWORD REDIS_PRESENCE_PASSWORD \
  REDIS_CHATCTL_PASSWORD REDIS_EXPORTER_PASSWORD \
  MYSQL_APPLICATION_PASSWORD MYSQL_MIGRATOR_PASSWORD MYSQL_EXPORTER_PASSWORD; do
  printf '%s=%s\n' "$name" "$(od -An -v -t x1 -N 24 /dev/urandom | tr -d ' \n')"
done > .env.new
mv .env.new .env
echo "secrets: made .env; next: docker compose up --build" >&2
