//! What libraries say about strangers: whoever reaches a port can have them say it as often as he likes. Of each module
//! of a library the first lines of a minute are shown, and then how many were not. Owns the counts. What Callboard says
//! itself passes, and so does what somebody asked for by its level: debug and trace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_actors::metrics::{SuppressedLabel, SuppressedLines};
use tokio::time::sleep;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one module that are shown in a minute.
const SHOWN: u64 = 5;
/// How often it is said what was not.
const MINUTE: Duration = Duration::from_secs(60);

/// The counts of this minute; clones share them.
#[derive(Debug, Clone, Default)]
pub struct HeldBack(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl HeldBack {
    /// Whether a line of this module is shown.
    fn shows(&self, target: &'static str) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.entry(target).or_default();
        *lines = lines.saturating_add(1);
        *lines <= SHOWN
    }

    /// How many lines were not shown, by module. A new minute begins.
    fn take(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        lines
            .into_iter()
            .filter_map(|(target, lines)| Some((target, lines.checked_sub(SHOWN)?)))
            .filter(|(_, more)| *more > 0)
    }

    /// Says each minute what was not shown, and counts it.
    pub(crate) async fn summarise(self, suppressed: SuppressedLines) {
        loop {
            sleep(MINUTE).await;
            for (target, lines) in self.take() {
                suppressed.get_or_create(&SuppressedLabel { target }).inc_by(lines);
                tracing::warn!(
                    log.target = target,
                    log.lines = lines,
                    "more of the same was not logged in the last minute"
                );
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for HeldBack {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        *about.level() > Level::INFO || about.target().starts_with("callboard") || self.shows(about.target())
    }
}

#[cfg(test)]
mod tests {
    //! A flood is shown by its beginning and its length.

    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use callboard_actors::metrics::{SuppressedLabel, SuppressedLines};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::{HeldBack, SHOWN};

    /// Keeps of whom each line is.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().expect("nobody panics with it").push(event.metadata().target());
        }
    }

    impl Seen {
        fn take(&self, target: &str) -> u64 {
            let mut seen = self.0.lock().expect("nobody panics with it");
            let before = seen.len();
            seen.retain(|of| *of != target);
            (before - seen.len()) as u64
        }
    }

    fn flood(lines: u64) {
        for number in 0..lines {
            tracing::warn!(target: "h2::proto", number, "a stranger resets");
            tracing::debug!(target: "h2::codec", number, "asked for");
            tracing::warn!(target: "callboard::http", number, "our own");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_lines_of_a_library_are_shown_and_the_others_counted() {
        let (held_back, seen, suppressed) = (HeldBack::default(), Seen::default(), SuppressedLines::default());
        let _log =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()).with(held_back.clone()));
        drop(tokio::spawn(held_back.summarise(suppressed.clone())));
        for minute in 1..=2 {
            flood(1_000);
            tracing::error!(target: "rustls::server", "a stranger once");
            assert_eq!(seen.take("h2::proto"), SHOWN);
            assert_eq!(
                (seen.take("h2::codec"), seen.take("callboard::http"), seen.take("rustls::server")),
                (1_000, 1_000, 1)
            );
            tokio::time::sleep(Duration::from_secs(61)).await;
            assert_eq!(seen.take("callboard::logging::held_back"), 1, "one line says what was not shown");
            let count = suppressed.get_or_create(&SuppressedLabel { target: "h2::proto" }).get();
            assert_eq!(count, minute * (1_000 - SHOWN));
        }
        // In a quiet minute there is nothing to say.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(seen.take("callboard::logging::held_back"), 0);
    }
}
