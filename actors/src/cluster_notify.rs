//! Carries NotifyEvent, ack 1, NotifyCommitEvent and ack 2 between nodes, the local one included.
