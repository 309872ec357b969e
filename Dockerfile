# Images for docker-compose.yml. Targets: `airflow` (all of Airflow's services) and `emulated-s3`.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG POSTGRES_IMAGE=postgres:17.12-bookworm

# The client tools come from the server's own image, so that pg_dump is never older than the server.
FROM ${POSTGRES_IMAGE} AS postgres

FROM ${PYTHON_IMAGE} AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/build/constraints.txt
WORKDIR /build
# The dependencies first, in a layer of their own: they change less often than the sources.
COPY constraints.txt pyproject.toml docker/requirements.txt ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > dependencies.txt \
    && pip install --quiet -r dependencies.txt -r requirements.txt
COPY LICENSE README.md ./
COPY glacier_provider glacier_provider
COPY dags dags
RUN pip install --quiet --no-deps . && pip check

FROM ${PYTHON_IMAGE} AS airflow
ARG POSTGRES_MAJOR=17
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
      libgssapi-krb5-2 libldap-2.5-0 liblz4-1 libreadline8 libzstd1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=postgres /usr/lib/postgresql/${POSTGRES_MAJOR}/bin/pg_dump \
     /usr/lib/postgresql/${POSTGRES_MAJOR}/bin/pg_restore \
     /usr/lib/postgresql/${POSTGRES_MAJOR}/bin/psql \
     /usr/lib/postgresql/${POSTGRES_MAJOR}/bin/
# Their own libpq as well: an older one may lack functions that they call.
COPY --from=postgres /usr/lib/*-linux-gnu/libpq.so.5.* /usr/local/lib/
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:/usr/lib/postgresql/${POSTGRES_MAJOR}/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    USER=airflow \
    PYTHONUNBUFFERED=1
# Group 0 may write wherever Airflow writes, so that the containers can run under any user id.
RUN ldconfig \
    && pg_dump --version && pg_restore --version && psql --version \
    && useradd --uid 50000 --gid 0 --no-create-home --home-dir /opt/airflow airflow \
    && mkdir -p /opt/airflow/logs /opt/airflow/dags /srv/library/uploads /srv/staging \
    && chown -R airflow:0 /opt/airflow /srv/library /srv/staging \
    && chmod -R u=rwX,g=rwX,o= /opt/airflow /srv/library /srv/staging
COPY dags/*.py /opt/airflow/dags/
COPY docker/airflow-health.py /usr/local/bin/airflow-health
COPY docker/airflow-init.sh /usr/local/bin/airflow-init
COPY docker/airflow-api-server.sh /usr/local/bin/airflow-api-server
USER 50000:0
WORKDIR /opt/airflow
CMD ["airflow", "version"]

# An S3 with archive classes, to try everything before there is an AWS account. It keeps its objects in memory.
FROM ${PYTHON_IMAGE} AS emulated-s3
RUN python -m venv /opt/venv && useradd --uid 50000 --gid 0 --no-create-home emulator
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
COPY constraints.txt /opt/emulator/
RUN pip install --quiet -c /opt/emulator/constraints.txt 'moto[server,s3]' boto3
COPY tests/__init__.py /opt/emulator/tests/
COPY tests/emulator /opt/emulator/tests/emulator
USER 50000:0
WORKDIR /opt/emulator
ENTRYPOINT ["python", "-m", "tests.emulator.s3", "--host", "0.0.0.0", "--port", "9000"]
