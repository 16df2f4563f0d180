//! How long a write-ahead log may grow before it is copied into its file. Owns the estimate of what a batch of
//! publishes adds to it, which nobody says until it is copied; copies nothing.

use std::time::Duration;

use crate::time::Mono;

/// Bytes of a page.
const PAGE: usize = 4_096;
/// Pages after which the log is copied: 8 MiB. A store of a few small keys is to need megabytes.
const COPIED_AFTER: usize = 2_048;
/// A copy begins so long after the one before at the earliest: each costs two syncs, which commits wait behind.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages that one small publish by itself adds: a leaf of each of the three tables that have a row of it and of each of
/// their indices, and the page of the revision.
const FIRST_GUESS: usize = 9;

/// What has come into a log since it was last copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    units: usize,
    content_pages: usize,
}

/// How one log grows.
#[derive(Debug)]
pub struct LogGrowth {
    share: Share,
    /// What a unit was seen to add besides its content; less when many share a batch.
    pages_per_unit: usize,
    /// When the last copy began.
    last: Option<Mono>,
    copying: bool,
    /// It could not grow.
    is_cramped: bool,
}

impl Default for LogGrowth {
    fn default() -> Self {
        Self { share: Share::default(), pages_per_unit: FIRST_GUESS, last: None, copying: false, is_cramped: false }
    }
}

impl LogGrowth {
    /// A batch of `units` with `bytes` of content is in the log, which has it twice: as the state and as the change.
    pub fn committed(&mut self, units: usize, bytes: usize) {
        self.share.units = self.share.units.saturating_add(units);
        self.share.content_pages = self.share.content_pages.saturating_add(2 * (bytes / PAGE));
    }

    /// There is no room for the log to grow. What is copied need not be kept: it begins anew in the room that it has.
    pub fn out_of_room(&mut self) {
        self.is_cramped = true;
    }

    /// What to copy now, if anything. The one who is told does it, and says [`Self::copied`] or [`Self::failed`].
    pub fn due(&mut self, now: Mono) -> Option<Share> {
        let pages = self.share.units.saturating_mul(self.pages_per_unit).saturating_add(self.share.content_pages);
        let rested = self.last.is_none_or(|last| now >= last.after(PAUSE));
        if self.copying || !rested || (pages < COPIED_AFTER && !self.is_cramped) {
            return None;
        }
        (self.copying, self.is_cramped, self.last) = (true, false, Some(now));
        Some(std::mem::take(&mut self.share))
    }

    /// The log held `pages` when `share` had come in since the last time.
    pub fn copied(&mut self, share: Share, pages: usize) {
        self.copying = false;
        if let Some(seen) = pages.saturating_sub(share.content_pages).checked_div(share.units) {
            self.pages_per_unit = usize::midpoint(self.pages_per_unit, seen).clamp(1, 2 * FIRST_GUESS);
        }
    }

    /// The log could not be copied; what is in it stays, and is due with what comes next.
    pub fn failed(&mut self, share: Share) {
        self.copying = false;
        self.share.units = self.share.units.saturating_add(share.units);
        self.share.content_pages = self.share.content_pages.saturating_add(share.content_pages);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(Duration::from_millis(millis))
    }

    #[test]
    fn small_publishes_one_by_one_make_a_few_megabytes_of_log() {
        let mut growth = LogGrowth::default();
        let (mut log, mut most) = (0, 0);
        // One each millisecond, nine pages each; every copy lets the log begin anew.
        for moment in 0..10_000 {
            growth.committed(1, 2);
            log += 9;
            most = most.max(log);
            if let Some(share) = growth.due(at(moment)) {
                growth.copied(share, log);
                log = 0;
            }
        }
        assert!(most * PAGE < 12 * 1024 * 1024, "{most} pages");
    }

    #[test]
    fn large_contents_count_by_their_bytes_and_batches_by_what_they_were_seen_to_add() {
        let mut growth = LogGrowth::default();
        growth.committed(1, 8 * 1024 * 1024);
        let share = growth.due(at(0)).unwrap();
        assert_eq!(growth.due(at(1_000)), None, "one copy at a time");
        growth.copied(share, 4_105);
        // Many in a batch share their pages: one each.
        for round in 1..=6 {
            growth.committed(4_000, 0);
            let share = growth.due(at(round * 1_000)).unwrap();
            growth.copied(share, 4_000);
        }
        growth.committed(1_900, 0);
        assert_eq!(growth.due(at(10_000)), None);
        growth.committed(200, 0);
        assert!(growth.due(at(10_000)).is_some());
    }

    #[test]
    fn a_log_that_can_not_grow_is_copied_at_once() {
        let mut growth = LogGrowth::default();
        growth.committed(1, 2);
        assert_eq!(growth.due(at(0)), None);
        growth.out_of_room();
        let share = growth.due(at(1)).unwrap();
        growth.copied(share, 9);
        assert_eq!(growth.due(at(1_000)), None, "once for each time that it was said");
    }

    #[test]
    fn a_copy_that_failed_is_due_again_and_copies_keep_their_distance() {
        let mut growth = LogGrowth::default();
        growth.committed(1_000, 0);
        let share = growth.due(at(0)).unwrap();
        growth.failed(share);
        assert_eq!(growth.due(at(249)), None);
        assert!(growth.due(at(250)).is_some());
    }
}
