"""`convcost check`: limits, what a model was, the verdict, and why it grew."""
