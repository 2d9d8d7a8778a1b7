"""Keeps Nylas bulk-authentication grants equal to a roster. Nothing in here imports Airflow."""
