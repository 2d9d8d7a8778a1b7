"""Keeps Nylas bulk authentication grants equal to a roster; the work itself, without Airflow."""
