//! Lists and maps that are read element by element and no further than they may be long: the element that is one too
//! many is refused before memory is taken for it. Owns how that is counted; how many there may be is said by who reads.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `MOST` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MOST: usize>(pub Vec<T>);

/// A map of at most `MOST` entries, those that replace an earlier one counted as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<V, const MOST: usize>(pub BTreeMap<String, V>);

struct Elements<T>(PhantomData<T>);

fn too_many<E: Error>(most: usize) -> E {
    E::custom(format_args!("more than {most} elements"))
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<List<T, MOST>> {
    type Value = List<T, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MOST {
            match source.next_element()? {
                Some(element) => list.push(element),
                None => return Ok(List(list)),
            }
        }
        source.next_element::<IgnoredAny>()?.map_or(Ok(List(list)), |_one_more| Err(too_many(MOST)))
    }
}

impl<'de, V: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<Table<V, MOST>> {
    type Value = Table<V, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a map of at most {MOST} entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut table = BTreeMap::new();
        for _ in 0..MOST {
            match source.next_entry()? {
                Some((name, value)) => drop(table.insert(name, value)),
                None => return Ok(Table(table)),
            }
        }
        source.next_key::<IgnoredAny>()?.map_or(Ok(Table(table)), |_one_more| Err(too_many(MOST)))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(Elements::<Self>(PhantomData))
    }
}

impl<'de, V: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Table<V, MOST> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(Elements::<Self>(PhantomData))
    }
}

/// [`List`], for `deserialize_with` of a field that is a vector.
///
/// # Errors
/// Those of `source`, and that there are too many.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(source: D) -> Result<Vec<T>, D::Error> {
    List::<T, MOST>::deserialize(source).map(|list| list.0)
}

/// [`Table`], for `deserialize_with` of a field that is a map.
///
/// # Errors
/// Those of `source`, and that there are too many.
pub fn table<'de, D: Deserializer<'de>, V: Deserialize<'de>, const MOST: usize>(
    source: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    Table::<V, MOST>::deserialize(source).map(|table| table.0)
}

#[cfg(test)]
mod tests {
    //! What is one too many is refused, and nothing behind it is read.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::cell::Cell;

    use serde::{Deserialize, Deserializer};

    use super::{List, Table};

    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts how many of it were read.
    #[derive(Debug, PartialEq)]
    struct Counted;

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            u8::deserialize(source).map(|_| Self)
        }
    }

    #[test]
    fn a_list_is_read_as_far_as_it_may_be_long() {
        let read = |text: &str| serde_json::from_str::<List<Counted, 3>>(text);
        assert_eq!(read("[1, 2, 3]").unwrap().0.len(), 3);
        assert_eq!(read("[]").unwrap().0, []);
        READ.set(0);
        let refused = read(&format!("[{}1]", "1,".repeat(1_000))).unwrap_err();
        assert!(refused.to_string().starts_with("more than 3 elements"), "{refused}");
        assert_eq!(READ.get(), 3);
    }

    #[test]
    fn a_map_is_read_as_far_as_it_may_be_long_whatever_replaces_what() {
        let read = |text: &str| serde_json::from_str::<Table<Counted, 2>>(text);
        assert_eq!(read(r#"{"a": 1, "b": 2}"#).unwrap().0.len(), 2);
        READ.set(0);
        let refused = read(r#"{"a": 1, "a": 2, "a": 3, "a": 4}"#).unwrap_err();
        assert!(refused.to_string().starts_with("more than 2 elements"), "{refused}");
        assert_eq!(READ.get(), 2);
    }

    #[test]
    fn what_is_something_else_is_refused() {
        assert!(serde_json::from_str::<List<u8, 3>>("{}").is_err());
        assert!(serde_json::from_str::<Table<u8, 3>>("[]").is_err());
    }
}
