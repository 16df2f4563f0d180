//! The client commands at a real node: what each prints, as tables and as JSON, and its exit code when something is
//! wrong.

mod commands {
    mod access;
    mod configurations;
    mod operators;
    mod single_sign_on;
    mod terminal;
    mod usage;
    mod watching;
}
