"""How `hrnn sessionize` works: a pass over the ids, then one shuffle of packed events; each shard is sorted and cut whole."""
