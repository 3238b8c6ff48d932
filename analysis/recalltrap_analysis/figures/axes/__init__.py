"""What panels are made of, where matplotlib's own costs more than a report has time for."""
