"""The layout of a workspace: the folders of steps, and the numbered nights."""
