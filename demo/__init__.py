"""The demo: a stand-in, a real Airflow, a small roster, and what becomes of each of its rows."""
