"""The public page that an admin sees after answering Microsoft."""
