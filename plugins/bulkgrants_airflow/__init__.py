"""The Airflow-facing layer: translates between Airflow and `bulkgrants`, and decides nothing."""
