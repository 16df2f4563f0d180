//! Any change, removal, swap or cut of a chain is found, and any pruning is not: on chains made by chance.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

fn chain(node: &str, bodies: &[String]) -> Vec<Record> {
    let mut head = Head::START;
    let records = bodies.iter().enumerate().map(|(index, body)| {
        let at = WallMillis(1_000 + i64::try_from(index).unwrap());
        head = head.next(node, at, body);
        Record { node: node.to_owned(), seq: head.seq, at, hash: head.hash, body: body.clone() }
    });
    records.collect()
}

fn head(record: &Record) -> Head {
    Head { seq: record.seq, hash: record.hash }
}

fn verify(records: &[Record], pruned: &[Pruned]) -> Option<Flaw> {
    let mut walk = Walk::default();
    records.iter().for_each(|record| walk.take(record));
    walk.end(pruned, false)
}

/// What is wrong with a chain whose end another node has seen.
fn verify_seen(records: &[Record], seen: &Seen, pruned: &[Pruned]) -> Option<Flaw> {
    let found = records.iter().find(|record| record.seq == seen.head.seq).map(|record| record.hash);
    verify(records, pruned).or_else(|| seen.compare(found, pruned))
}

fn bodies() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-c\\{\\}]{0,4}", 2..12)
}

/// A chain, the place of one of its records, and what another node has seen of it: its end.
fn seen_chain() -> impl Strategy<Value = (Vec<Record>, usize, Seen)> {
    (bodies(), any::<prop::sample::Index>()).prop_map(|(bodies, index)| {
        let records = chain("one", &bodies);
        let last = head(records.last().unwrap());
        let place = index.index(records.len());
        (records, place, Seen { by: "two".to_owned(), node: "one".to_owned(), head: last })
    })
}

proptest! {
    #[test]
    fn a_whole_chain_is_right((records, _, seen) in seen_chain()) {
        prop_assert_eq!(verify_seen(&records, &seen, &[]), None);
    }

    #[test]
    fn a_change_of_anything_is_found_where_it_is((records, place, seen) in seen_chain(), what in 0..4) {
        let mut changed = records;
        let record = &mut changed[place];
        let seq = record.seq;
        match what {
            0 => record.body.push('x'),
            1 => record.at.0 += 1,
            2 => record.node.push('x'),
            _ => record.hash = Hash::of(record.hash, "", 0, WallMillis(0), ""),
        }
        prop_assert_eq!(verify_seen(&changed, &seen, &[]), Some(Flaw::Changed { seq }));
    }

    #[test]
    fn a_change_with_a_hash_that_fits_is_found_by_the_next((records, place, seen) in seen_chain()) {
        let mut changed = records;
        let previous = place.checked_sub(1).map_or(Head::START, |before| head(&changed[before]));
        let (record, count) = (&mut changed[place], seen.head.seq);
        record.body.push('x');
        record.hash = previous.next(&record.node, record.at, &record.body).hash;
        let seq = record.seq;
        let expected = if seq == count {
            Flaw::Another { seq, by: "two".to_owned() }
        } else {
            Flaw::Changed { seq: seq + 1 }
        };
        prop_assert_eq!(verify_seen(&changed, &seen, &[]), Some(expected));
    }

    #[test]
    fn a_record_taken_out_is_found((records, place, seen) in seen_chain()) {
        let mut fewer = records;
        let seq = fewer.remove(place).seq;
        let expected = match seq {
            1 => Flaw::Beginning { seq: 2 },
            seq if seq == seen.head.seq => Flaw::Gone { seq, by: "two".to_owned() },
            seq => Flaw::Missing { seq },
        };
        prop_assert_eq!(verify_seen(&fewer, &seen, &[]), Some(expected));
    }

    #[test]
    fn records_that_change_places_are_found((records, place, seen) in seen_chain()) {
        let mut swapped = records;
        let other = (place + 1) % swapped.len();
        swapped.swap(place, other);
        prop_assert!(verify_seen(&swapped, &seen, &[]).is_some());
    }

    #[test]
    fn a_record_put_in_twice_is_found((records, place, seen) in seen_chain()) {
        let mut more = records;
        let twice = more[place].clone();
        let seq = twice.seq;
        more.insert(place, twice);
        prop_assert_eq!(verify_seen(&more, &seen, &[]), Some(Flaw::Order { seq }));
    }

    #[test]
    fn what_was_pruned_is_not_missed_and_what_was_cut_is((records, place, seen) in seen_chain(), more in 1..3_usize) {
        prop_assume!(place > 0);
        let pruned = [Pruned { node: "one".to_owned(), through: head(&records[place - 1]) }];
        let left = &records[place..];
        prop_assert_eq!(verify_seen(left, &seen, &pruned), None);
        // Further back it was seen, and removed since.
        let before = Seen { head: head(&records[place - 1]), ..seen.clone() };
        prop_assert_eq!(verify_seen(left, &before, &pruned), None);
        let seq = records[place].seq;
        prop_assert_eq!(verify_seen(left, &seen, &[]), Some(Flaw::Beginning { seq }));
        prop_assume!(place + more < records.len());
        let seq = records[place + more].seq;
        prop_assert_eq!(verify_seen(&records[place + more..], &seen, &pruned), Some(Flaw::Beginning { seq }));
        // The first that is left is held by the record of the removal.
        let mut changed = left.to_vec();
        changed[0].body.push('x');
        let seq = changed[0].seq;
        prop_assert_eq!(verify_seen(&changed, &seen, &pruned), Some(Flaw::Changed { seq }));
    }

    #[test]
    fn what_hashes_differs_in_every_part(node in "[ab]{0,3}", body in "[ab]{0,3}", more in "[ab]{1,3}") {
        // The bytes of name and body are the same in a row.
        let one = Hash::of(Hash::NONE, &format!("{node}{more}"), 1, WallMillis(1), &body);
        let other = Hash::of(Hash::NONE, &node, 1, WallMillis(1), &format!("{more}{body}"));
        prop_assert_ne!(one, other);
    }
}

#[test]
fn a_hash_is_written_as_it_is_read() {
    let hash = Hash::of(Hash::NONE, "one", 1, WallMillis(1), "{}");
    assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
    assert_eq!(Hash::parse(&hash.to_string()[1..]), None);
    // Records are verified by whoever has SHA-256.
    assert_eq!(hash.to_string(), "3e702313d7e0c68c0f45d82e3b40e01d4482d6002c88c29bbf76cea57e1c76a2");
}

#[test]
fn a_part_of_a_chain_may_begin_anywhere() {
    let records = chain("one", &["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let walk = |records: &[Record]| {
        let mut walk = Walk::default();
        records.iter().for_each(|record| walk.take(record));
        walk.end(&[], true)
    };
    assert_eq!(walk(&records[1..]), None);
    let mut changed = records[1..].to_vec();
    changed[1].body.push('x');
    assert_eq!(walk(&changed), Some(Flaw::Changed { seq: 3 }));
}

#[test]
fn chains_are_looked_at_together() {
    let (one, two) = (chain("one", &["a".to_owned(), "b".to_owned()]), chain("two", &["a".to_owned()]));
    let look = |one: &[Record]| {
        let mut verifier = Verifier::default();
        one.iter().for_each(|record| verifier.take(record, None));
        let heads = BTreeMap::from([("one".to_owned(), head(&chain("one", &["a".to_owned(), "b".to_owned()])[1]))]);
        verifier.take(&two[0], Some(Claims { heads, pruned: None }));
        assert_eq!(verifier.seen().len(), 1);
        let hash = |node: &str, seq| one.iter().find(|r| r.node == node && r.seq == seq).map(|record| record.hash);
        verifier.end(hash, false)
    };
    let verdicts = look(&one);
    assert_eq!(verdicts.len(), 2);
    assert_eq!((verdicts[0].first, verdicts[0].last, verdicts[0].records, &verdicts[0].flaw), (1, 2, 2, &None));
    let gone = Some(Flaw::Gone { seq: 2, by: "two".to_owned() });
    assert_eq!(look(&one[..1])[0].flaw, gone);
    let none = look(&[]);
    assert_eq!((none[0].node.as_str(), none[0].records, &none[0].flaw), ("one", 0, &gone));
}
