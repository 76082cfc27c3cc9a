"""What lies in a workspace: the folders of steps, and the order of its nights."""
