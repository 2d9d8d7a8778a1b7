# Airflow's slim image has only Airflow: every provider package comes from our lock, in the tested version.
FROM apache/airflow:slim-3.3.2-python3.11

# The lock comes first, without the project itself: it rarely changes, and it takes the longest.
COPY requirements.txt /opt/bulkgrants/
RUN pip install --no-cache-dir --require-hashes --requirement /opt/bulkgrants/requirements.txt

# Our code belongs to root, in a folder of root's, so what runs as `airflow` can neither change nor
# replace it. Airflow's own home belongs to `airflow`, which writes its configuration and logs there.
USER root
COPY pyproject.toml README.md /opt/bulkgrants/
COPY include/ /opt/bulkgrants/include/
COPY plugins/ /opt/bulkgrants/plugins/
COPY dags/ /opt/bulkgrants/dags/
# A checkout may be writable by its group, and in the image that is the group of `airflow` too.
RUN chmod -R u=rwX,go=rX /opt/bulkgrants && python -m compileall -q /opt/bulkgrants
USER airflow
ENV AIRFLOW__CORE__DAGS_FOLDER=/opt/bulkgrants/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/bulkgrants/plugins
# A new volume takes its owner and mode from the folder that it covers, so both folders are created here.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable /opt/bulkgrants \
    && mkdir -p /opt/airflow/users /opt/airflow/logs
