"""Solution versions as several jobs read them: manifest, tensors, sequences staged on this node, user segments."""
