//! The client of Callboard.
