"""What is measured: each step runs in a process like an idle Airflow task, and does real work."""
