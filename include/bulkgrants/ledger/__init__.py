"""The ledger: records of runs, plans, attempts and outcomes, and the work queue between tasks."""
