"""Grades the lessons of the workbook; `python3 -m grader --help` is the front door."""
