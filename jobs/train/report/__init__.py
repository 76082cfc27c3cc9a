"""Parts of the solution version's report: what was measured in words and tables, some users' lists and why, the page."""
