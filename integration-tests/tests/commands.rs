//! The client commands at a real node: what each prints, as tables and as JSON, and its exit code when something is
//! wrong.

mod commands {
    mod access;
    mod configurations;
    mod operators;
    mod terminal;
    mod usage;
    mod watching;
}
