//! Turns are given in the order in which they are asked for, and so few wait that none waits for long; and the
//! connections of searches and those of everything else do not wait for each other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::store::ListFilter;
use crate::testbed::{Database, advance, key, run};

fn searches(connections: u32) -> Searches {
    Searches::new(DatabaseConnection::default(), connections, Backend::Postgres)
}

/// Somebody who asks for a turn.
fn ask(searches: &Searches, line: Line) -> tokio::task::JoinHandle<Option<OwnedSemaphorePermit>> {
    let searches = searches.clone();
    tokio::task::spawn_local(async move { searches.turn(line).await })
}

#[test]
fn few_run_at_a_time_and_the_next_turn_is_that_of_who_came_first() {
    run(async || {
        let searches = searches(2);
        let (first, second) = (searches.turn(Line::New).await, searches.turn(Line::Owed).await);
        assert!(first.is_some() && second.is_some());
        assert_eq!(searches.running(), 2);
        let (third, fourth) = (ask(&searches, Line::New), ask(&searches, Line::Owed));
        advance(Duration::from_secs(1)).await;
        assert!(!third.is_finished() && !fourth.is_finished());
        drop(first);
        let third = third.await.unwrap();
        assert!(third.is_some() && !fourth.is_finished());
        drop(third);
        assert!(fourth.await.unwrap().is_some());
        assert_eq!(searches.running(), 1);
    });
}

#[test]
fn who_waits_too_long_is_refused_and_who_finds_no_place_at_once() {
    run(async || {
        let searches = searches(1);
        let held = searches.turn(Line::New).await;
        let waiting: Vec<_> = (0..Line::New.places()).map(|_| ask(&searches, Line::New)).collect();
        let owed = ask(&searches, Line::Owed);
        advance(Duration::from_millis(1)).await;
        assert!(searches.turn(Line::New).await.is_none(), "it found a place");
        advance(Line::New.patience()).await;
        for late in waiting {
            assert!(late.await.unwrap().is_none());
        }
        assert!(!owed.is_finished(), "what is owed is refused as early as what is new");
        drop(held);
        assert!(owed.await.unwrap().is_some());
        assert!(searches.turn(Line::New).await.is_some(), "the places were not given back");
    });
}

#[test]
fn on_sqlite_a_core_is_left_to_others() {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let searches = Searches::new(DatabaseConnection::default(), u32::MAX, Backend::Sqlite);
    assert_eq!(searches.running.available_permits(), (cores - 1).max(1));
}

#[test]
fn neither_a_fill_nor_the_probe_waits_for_searches_and_no_search_for_fills() {
    run(async || {
        let Database { reader, .. } = &Database::create().await;
        let (fills, searches) = (reader.connection(), &reader.searches().connection);
        let all_of = async |of: &DatabaseConnection| {
            let pool = of.get_sqlite_connection_pool();
            let mut held = Vec::new();
            for _ in 0..pool.options().get_max_connections() {
                held.push(pool.acquire().await.unwrap());
            }
            held
        };
        let held = all_of(searches).await;
        assert_eq!(reader.fill(&[key("a")]).await.unwrap().states.len(), 1);
        reader.probe().await.unwrap();
        drop(held);
        let _held = all_of(fills).await;
        let filter = ListFilter { namespace: "public".to_owned(), ..ListFilter::default() };
        let turn = reader.turn(Line::New).await.unwrap();
        assert!(turn.reader().list(&filter, None, 10).await.unwrap().is_empty());
    });
}
