# Airflow's slim image has only Airflow: every provider package comes from our lock, in the tested version.
FROM apache/airflow:slim-3.3.2-python3.11

# The lock comes first, without the project itself: it rarely changes, and it takes the longest.
COPY --chown=airflow:root requirements.txt /opt/airflow/
RUN grep -v '^-e' /opt/airflow/requirements.txt > /tmp/pins.txt \
    && pip install --no-cache-dir --requirement /tmp/pins.txt \
    && rm /tmp/pins.txt

# Our folders for DAGs and plugins replace those in Airflow's home.
COPY --chown=airflow:root pyproject.toml README.md /opt/airflow/
COPY --chown=airflow:root include/ /opt/airflow/include/
COPY --chown=airflow:root plugins/ /opt/airflow/plugins/
COPY --chown=airflow:root dags/ /opt/airflow/dags/
# A new volume takes its owner and mode from the folder that it covers, so both folders are created here.
RUN pip install --no-cache-dir --no-deps --editable /opt/airflow \
    && mkdir -p /opt/airflow/users /opt/airflow/logs
