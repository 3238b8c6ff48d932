"""Running a study: from its cells to packs of work, and from those to tables."""
