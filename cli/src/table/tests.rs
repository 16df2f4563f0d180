//! How a table looks, and what it never shows.

use proptest::prelude::{any, prop_assert, proptest};

use super::{Table, printable};

fn text(rows: &[&[&str]]) -> String {
    let mut table = Table::new(&["NAME", "SIZE", "NOTE"]);
    for row in rows {
        table.row(row.iter().map(|&cell| cell.to_owned()));
    }
    table.to_text()
}

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let shown = text(&[&["a", "12345678", "x"], &["longer", "1", ""]]);
    assert_eq!(shown, "NAME    SIZE      NOTE\na       12345678  x\nlonger  1         -\n");
}

#[test]
fn headings_stand_alone_when_there_is_nothing() {
    assert_eq!(text(&[]), "NAME  SIZE  NOTE\n");
}

#[test]
fn letters_count_and_not_bytes() {
    assert_eq!(text(&[&["äöü", "1", "x"], &["abcd", "1", "x"]]), "NAME  SIZE  NOTE\näöü   1     x\nabcd  1     x\n");
}

#[test]
fn wide_letters_take_two_places_and_those_that_join_none() {
    let shown = text(&[&["价格表", "1", "x"], &["e\u{301}", "1", "x"], &["abcd", "1", "x"]]);
    assert_eq!(shown, "NAME    SIZE  NOTE\n价格表  1     x\ne\u{301}       1     x\nabcd    1     x\n");
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(printable("a\n\u{1b}[2J\u{202e}b"), "a\\n\\u{1b}[2J\\u{202e}b");
}

proptest! {
    #[test]
    fn no_cell_adds_a_line_or_moves_the_cursor(cells in any::<[String; 3]>()) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let shown = text(&[&cells]);
        prop_assert!(shown.matches('\n').count() == 2 && shown.ends_with('\n'));
        prop_assert!(!shown.replace('\n', "").chars().any(char::is_control));
    }
}
