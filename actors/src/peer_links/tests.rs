//! Tests of the links without sockets: the test is the one who dials.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
