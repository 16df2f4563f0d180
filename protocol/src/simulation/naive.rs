//! The naive variants, one by one: each is found out by what clients see. A named seed shows how.

use super::run;
use super::variants::{Broken, Variant};

#[test]
fn search() {
    use Variant::*;
    for variant in [
        NacosLike,
        SeedTimeoutDrop,
        LeaseFlag,
        DbClockExpiry,
        AckBeforeMark,
        LeaseFromResponse,
        NoFillGuard,
        FillGuardNotifyOnly,
        NoFlushOnRejoin,
        JoinPoisonedFill,
        FenceNoRowLock,
        LeaseCheckOutsideTx,
        JoinNoLock,
        AckNoIncarnation,
        CommitClearsAll,
        CommitCreatesEntry,
        NoSelfFence,
        PushUnguarded,
        ConnectUnguarded,
    ] {
        let mut found = Vec::new();
        let limit = super::setting("CALLBOARD_SIM_SEEDS").unwrap_or(3_000);
        for seed in 0..limit {
            let (violation, counters) = run(seed, Broken { variant: Some(variant) });
            if let Some(violation) = violation {
                found.push((seed, violation, counters.events));
                if found.len() == 4 {
                    break;
                }
            }
        }
        println!("{variant:?}: {found:?}");
    }
}
