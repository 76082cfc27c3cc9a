"""Parts of the train job: staging, torchrun, checkpoints in the workspace, publication."""
