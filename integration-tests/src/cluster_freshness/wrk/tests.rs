//! What counts as a content of the script's.

use super::*;

fn content(beginning: &str) -> String {
    format!("{beginning}{}", "x".repeat(SIZE - beginning.len()))
}

#[test]
fn only_a_whole_content_of_this_run_and_key_has_a_number() {
    let beginning = "load.bench-1.key-000007.seq-";
    let whole = content("load.bench-1.key-000007.seq-000000000340.");
    assert_eq!(number(&whole, beginning), Some(340));
    assert_eq!(number(&whole[..SIZE - 1], beginning), None);
    assert_eq!(number(&whole.replacen('x', "?", 1), beginning), None);
    assert_eq!(number(&content("warm.bench-1.key-000007.seq-000000000340."), beginning), None);
    assert_eq!(number(&content("load.bench-1.key-000008.seq-000000000340."), beginning), None);
    assert_eq!(number("", beginning), None);
}
