"""What people see: the page on which an admin lands who has answered Microsoft."""
