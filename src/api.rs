//! What all doors share: who may do what, what went wrong and how every interface says so, and what requests may take.
//!
//! Reading order: `access` (who asks, and may they) · `error` (every refusal and failure, and the one table that every
//! interface reads) · `state` (what the workers have) · `outcome` (handing a publish over) · `places`, `admission`,
//! `memory` (how much may be open and held) · `off_worker`, `escaped`, `turns` (work on long messages) · `paging` ·
//! `readiness`, `cluster`, `process` (how the node and its cluster are) · [`draining`] (the stop) · [`addresses`].
//!
//! The doors (`rest`, `nacos`, `session`) import this and never each other; this imports none of them, and no form of
//! theirs.

pub(crate) mod access;
pub(crate) mod addresses;
pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod cluster;
pub(crate) mod draining;
pub(crate) mod error;
pub(crate) mod escaped;
pub(crate) mod figures;
pub(crate) mod gauges;
pub(crate) mod memory;
pub(crate) mod off_worker;
pub(crate) mod outcome;
pub(crate) mod paging;
pub(crate) mod places;
pub(crate) mod process;
pub(crate) mod readiness;
pub(crate) mod state;
pub(crate) mod turns;

use std::time::Duration;

/// How long a read may take. A load that has to wait for another one is given up before.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(15);
