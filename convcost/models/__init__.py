"""`convcost model`: a traced model as rows and totals, and how people see them."""
