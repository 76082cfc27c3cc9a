"""What several jobs know of a solution version: its tensors, its sequences on this node, its segments."""
