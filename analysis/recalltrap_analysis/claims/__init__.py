"""The claims ledger: what is claimed of a kind of study, judged by runs' tables."""
