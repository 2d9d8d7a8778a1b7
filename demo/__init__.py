"""The demo: a stand-in, a real Airflow and a small roster, and what becomes of every row of it."""
