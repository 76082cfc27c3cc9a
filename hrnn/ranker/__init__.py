"""The ranker of a night's lists: candidates of every source, features of them, and boosted trees learnt on earlier moments."""
