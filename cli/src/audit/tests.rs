//! Exports are read line by line, and what is wrong with one is named.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

/// An export of one node's chain, and its records.
fn export(bodies: &[&str]) -> (String, Vec<String>) {
    let (mut head, mut lines) = (Head::START, Vec::new());
    for body in bodies {
        head = head.next("one", WallMillis(5), body);
        let line = json!({ "node": "one", "seq": head.seq, "at": 5, "hash": head.hash, "body": body });
        lines.push(line.to_string());
    }
    let first = json!({ "audit": 1, "heads": { "one": head }, "spans": { "one": [0, head.seq] }, "part": false });
    (first.to_string(), lines)
}

fn read(first: &str, lines: &[String]) -> Result<Vec<Verdict>, Failure> {
    let mut reading = Reading::default();
    reading.take(first)?;
    lines.iter().try_for_each(|line| reading.take(line))?;
    Ok(reading.end()?.0)
}

const BODIES: [&str; 3] = ["{\"events\":[]}", "{\"events\":[1]}", "no JSON"];

#[test]
fn a_whole_export_holds() {
    let (first, lines) = export(&BODIES);
    let verdicts = read(&first, &lines).unwrap();
    assert_eq!((verdicts.len(), verdicts[0].last, &verdicts[0].flaw), (1, 3, &None));
}

#[test]
fn a_change_is_named() {
    let (first, mut lines) = export(&BODIES);
    lines[1] = lines[1].replace("[1]", "[2]");
    let verdicts = read(&first, &lines).unwrap();
    assert_eq!(verdicts[0].flaw.as_ref().unwrap().seq(), 2);
}

#[test]
fn an_export_that_is_cut_short_is_found_out() {
    let (first, lines) = export(&BODIES);
    let error = read(&first, &lines[..2]).unwrap_err().to_string();
    assert!(error.contains("node one") && error.contains("record 2"), "{error}");
    let error = read(&first, &[]).unwrap_err().to_string();
    assert!(error.contains("its beginning"), "{error}");
}

#[test]
fn what_an_older_export_has_seen_must_be_there() {
    let (first, lines) = export(&BODIES);
    let (_, others) = export(&["another"]);
    let other: Line = serde_json::from_str(&others[0]).unwrap();
    let mut reading = Reading::default();
    let head = Head { seq: 1, hash: other.hash };
    reading.verifier.expect(Seen { by: "the older export".to_owned(), node: "one".to_owned(), head });
    reading.take(&first).unwrap();
    lines.iter().for_each(|line| reading.take(line).unwrap());
    let flaw = reading.end().unwrap().0[0].flaw.clone().unwrap();
    assert_eq!(flaw.to_string(), "record 1 is another than the older export has seen");
}

#[test]
fn another_form_is_refused() {
    let (first, _) = export(&BODIES);
    assert!(read(&first.replace("\"audit\":1", "\"audit\":2"), &[]).is_err());
}

#[test]
fn what_an_event_is_about_is_told_in_a_few_words() {
    let event = json!({ "target": { "namespace": "public", "group": "g", "dataId": "a", "version": 7 } });
    assert_eq!(target(&event), "public/g/a@7");
    let event = json!({ "target": { "role": "team", "grants": ["read */*/*"] } });
    assert_eq!(target(&event), "role=team grants=read */*/*");
    assert_eq!(target(&json!({})), "");
}
