//! What is read as a content, and how the conditions are told.

use std::fs;

use callboard_client::Condition;

use super::{MAX_BYTES, read, text};
use crate::arguments::PutCondition;
use crate::failure::Failure;

fn refusal(read: Result<String, Failure>) -> String {
    match read {
        Ok(_) => panic!("it was taken"),
        Err(failure) => {
            assert_eq!(failure.exit_code(), 2);
            failure.to_string()
        }
    }
}

#[test]
fn a_file_is_taken_byte_for_byte() -> std::io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("a");
    fs::write(&path, "a: ü\r\n\n")?;
    assert!(read(Some(&path)).is_ok_and(|content| content == "a: ü\r\n\n"));
    assert!(refusal(read(Some(&directory.path().join("b")))).contains("cannot read"));
    assert!(refusal(read(Some(directory.path()))).contains("cannot read"));
    Ok(())
}

#[test]
fn what_is_no_text_is_refused_without_showing_it() {
    let message = refusal(text(b"secret \xff".as_slice(), "standard input"));
    assert_eq!(message, "standard input is not UTF-8 text");
}

#[test]
fn an_endless_content_is_not_read_to_its_end() {
    assert!(refusal(text(std::io::repeat(b'a'), "standard input")).contains(&MAX_BYTES.to_string()));
}

#[test]
fn each_condition_is_told_as_what_it_is() {
    let none = PutCondition { if_version: None, if_md5: None, if_absent: false };
    assert_eq!(none.to_condition(), None);
    let version = PutCondition { if_version: Some(3), ..none.clone() };
    assert_eq!(version.to_condition(), Some(Condition::IfVersion(3)));
    let md5 = PutCondition { if_md5: Some("ab".to_owned()), ..none.clone() };
    assert_eq!(md5.to_condition(), Some(Condition::IfMd5("ab".to_owned())));
    assert_eq!(PutCondition { if_absent: true, ..none }.to_condition(), Some(Condition::IfAbsent));
}
