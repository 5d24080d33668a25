"""What an evaluation found, for people: report.html, diagrams, plots and films."""
