//! Tests of the client against a node that does what the test says, over real connections.

mod fake;

mod denied;
mod disconnected;
mod moving;
mod requests;
mod watches;
