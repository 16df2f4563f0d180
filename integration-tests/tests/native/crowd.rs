//! Many clients that watch the same keys, and those who publish them. Owns what each client has seen and what was
//! published last, and judges whether anybody went back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use callboard_client::{Client, ConfigKey, Options, Prefix, Publish};
use callboard_integration_tests::poll;
use tokio::task::JoinSet;

const KEYS: u64 = 6;
const PUBLISHERS: usize = 3;

/// What one client has seen: the newest version of each key, and what was wrong.
#[derive(Debug, Default)]
struct Seen {
    newest: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

/// The clients.
pub(crate) struct Crowd {
    seen: Vec<Arc<Mutex<Seen>>>,
    published: Arc<AtomicU64>,
    _watching: JoinSet<()>,
}

/// Those who publish.
pub(crate) struct Publishers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<BTreeMap<String, u64>>>,
}

impl Crowd {
    /// So many clients of these nodes. Half of them watch each key, the others a prefix that selects all.
    pub(crate) fn gather(count: usize, nodes: &[String]) -> Result<Self> {
        let (mut seen, mut watching) = (Vec::new(), JoinSet::new());
        for number in 0..count {
            let mut options = Options::new(nodes.iter().cloned());
            options.client_id = format!("crowd-{number}");
            let client = Client::connect(options)?;
            let mut watch = if number % 2 == 0 {
                client.watch((0..KEYS).map(key).collect::<callboard_client::Selection>())
            } else {
                client.watch(Prefix::new("public", "crowd", "key-"))
            };
            let mine = Arc::new(Mutex::new(Seen::default()));
            seen.push(Arc::clone(&mine));
            watching.spawn(async move {
                while let Some(change) = watch.next().await {
                    let config = &change.config;
                    let mut mine = mine.lock().expect("nobody panics with it");
                    let before =
                        mine.newest.insert(config.key.data_id().to_owned(), config.version).unwrap_or_default();
                    if before > config.version {
                        mine.wrong.push(format!("{} after {before} of {:?}", config.version, config.key));
                    }
                }
                let mut mine = mine.lock().expect("nobody panics with it");
                mine.wrong.push(format!("its watch ended: {:?}", watch.error()));
            });
        }
        Ok(Self { seen, published: Arc::default(), _watching: watching })
    }

    /// Begins to publish, until told to end.
    pub(crate) fn publish(&self, nodes: Vec<String>) -> Result<Publishers> {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for publisher in 0..PUBLISHERS {
            let mut options = Options::new(nodes.iter().cloned());
            options.client_id = format!("publisher-{publisher}");
            // A node that was killed is fenced within eight seconds; nothing is committed meanwhile.
            options.request_timeout = Duration::from_secs(40);
            let client = Client::connect(options)?;
            let (stop, published) = (Arc::clone(&stop), Arc::clone(&self.published));
            tasks.spawn(async move {
                let mut newest = BTreeMap::new();
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Each publisher has keys of its own, so that its last version is the newest.
                    let own = (number % (KEYS / PUBLISHERS as u64)) * PUBLISHERS as u64 + publisher as u64;
                    let key = key(own);
                    let content = format!("{number} by {publisher}");
                    let done = client.publish(Publish::new(&key, content)).await;
                    let done = done.with_context(|| format!("publish {number} of publisher {publisher}"))?;
                    newest.insert(key.data_id().to_owned(), done.version);
                    published.fetch_add(1, Ordering::Relaxed);
                }
                Ok(newest)
            });
        }
        Ok(Publishers { stop, tasks })
    }

    /// Waits until so many more were published.
    pub(crate) async fn until_published(&self, more: u64) -> Result<()> {
        let end = self.published.load(Ordering::Relaxed) + more;
        poll::until("publishing goes on", poll::SOON * 2, async || {
            Ok((self.published.load(Ordering::Relaxed) >= end).then_some(()))
        })
        .await
    }

    /// Waits until every client has these versions. Tells how long that took.
    pub(crate) async fn until_all_have(&self, newest: &BTreeMap<String, u64>, within: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let waiting = poll::until("every client has the newest versions", within, async || {
            Ok(self.seen.iter().all(|seen| seen.lock().expect("nobody panics with it").newest == *newest).then_some(()))
        });
        if let Err(error) = waiting.await {
            let behind: Vec<_> = self.seen.iter().map(|seen| seen.lock().expect("nobody panics with it")).collect();
            let behind: Vec<_> = behind.iter().enumerate().filter(|(_, seen)| seen.newest != *newest).collect();
            bail!("{error:#}; newest are {newest:?}; {} are behind: {behind:?}", behind.len());
        }
        Ok(begin.elapsed())
    }

    /// Nobody went back, and nobody's watch ended.
    pub(crate) fn judge(&self) -> Result<()> {
        for (number, seen) in self.seen.iter().enumerate() {
            let seen = seen.lock().expect("nobody panics with it");
            anyhow::ensure!(seen.wrong.is_empty(), "client {number}: {:?}", seen.wrong);
        }
        Ok(())
    }
}

impl Publishers {
    /// Ends publishing. Tells the newest version of each key.
    pub(crate) async fn end(mut self) -> Result<BTreeMap<String, u64>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut newest = BTreeMap::new();
        while let Some(ended) = self.tasks.join_next().await {
            newest.extend(ended.context("a publisher panicked")??);
        }
        Ok(newest)
    }
}

fn key(number: u64) -> ConfigKey {
    ConfigKey::public("crowd", &format!("key-{number}"))
}
