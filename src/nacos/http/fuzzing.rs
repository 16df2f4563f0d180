//! What a fuzz target reaches of Nacos's parameters. Present only with the feature `fuzzing`.

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::parameters::{Form, Parameters};
use crate::api::auth::Credentials;

/// A query and a body that says what it is: read or refused.
///
/// # Panics
/// The body is there as a whole, and is waited for all the same.
pub fn form(query: &str, is_in_parts: bool, body: &[u8]) {
    let mut parameters = Parameters::default();
    // Refused or taken; either is an answer.
    drop(parameters.add(query));
    let form = if is_in_parts { Form::Parts("b".to_owned()) } else { Form::Encoded };
    let read = parameters.add_form(form, Bytes::copy_from_slice(body)).now_or_never();
    drop(read.expect("nothing has to be waited for"));
    drop(parameters.check_names());
    drop([true, false].map(|lenient| parameters.key(lenient)));
    let _: Credentials<'_> = parameters.shown();
    parameters.may_name_something();
}
