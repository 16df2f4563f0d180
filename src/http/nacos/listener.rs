//! Long polling: which of the configurations that a client holds have changed.

use super::super::access::Call;
use super::Answer;
use super::fault::Fault;

/// `POST` of what a client holds.
pub(in crate::http) async fn listen(_call: Call) -> Answer {
    Err(Fault::unsupported("listener"))
}
