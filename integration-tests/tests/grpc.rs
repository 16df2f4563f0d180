//! Nacos's clients over gRPC, by the bare protocol against one node: how each SDK begins, what it asks and is answered,
//! what it is told and when, and what bad words do.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod grpc {
    mod beginning;
    mod life;
    mod malformed;
    mod notices;
    mod patterns;
    mod requests;
}
