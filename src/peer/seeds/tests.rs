//! Tests of the seeds: what can be resolved is, what can't be keeps nothing up.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

#[actix_rt::test]
async fn addresses_and_names_are_resolved_and_the_rest_is_left_out() {
    let names = ["127.0.0.1:8851", "[::1]:8852", "no-such-host.invalid:8853", "localhost:8854"];
    let seeds = SeedNames::new(names.map(str::to_owned).into());
    let found = seeds.resolve().await;
    assert!(found.contains(&"127.0.0.1:8851".parse().unwrap()));
    assert!(found.contains(&"[::1]:8852".parse().unwrap()));
    assert!(found.iter().any(|address| address.port() == 8854));
    assert!(!found.iter().any(|address| address.port() == 8853));
    assert_eq!(seeds.failing.lock().unwrap().len(), 1);
}
