"""Presents the results of an evaluation: report.html, diagrams, plots and films."""
