# Airflow's slim image holds Airflow alone: every provider comes from our lock, at the tested version.
FROM apache/airflow:slim-3.3.2-python3.11

# The lock first, without the project itself: it changes seldom, and takes the time.
COPY --chown=airflow:root requirements.txt /opt/airflow/
RUN grep -v '^-e' /opt/airflow/requirements.txt > /tmp/pins.txt \
    && pip install --no-cache-dir --requirement /tmp/pins.txt \
    && rm /tmp/pins.txt

# Airflow's home has its own folders for DAGs and plugins; ours take their places.
COPY --chown=airflow:root pyproject.toml README.md /opt/airflow/
COPY --chown=airflow:root include/ /opt/airflow/include/
COPY --chown=airflow:root plugins/ /opt/airflow/plugins/
COPY --chown=airflow:root dags/ /opt/airflow/dags/
# A new volume takes over owner and mode of the folder that it covers; so both folders are made here.
RUN pip install --no-cache-dir --no-deps --editable /opt/airflow \
    && mkdir -p /opt/airflow/users /opt/airflow/logs
