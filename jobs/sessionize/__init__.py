"""How `hrnn sessionize` works: a survey of the ids, then one shuffle of packed events, each shard sorted and cut whole."""
