//! A page of a search, of any size: clients ask for thousands of items, read one page and stop, so that none may be cut
//! short. Owns the form of a page and the steps in which a long one is read and written: what is held of it is a step
//! of names and a few contents, counted against the memory for answers, however slowly its client reads. A long page
//! that can't be read to its end breaks off, so that nobody takes it for a whole one.

use std::collections::VecDeque;
use std::time::Duration;

use actix::Addr;
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use callboard_actors::cache::ReadFailure;
use callboard_actors::runtime::{AskError, ask};
use callboard_actors::store::{Found, Line, Search};
use callboard_actors::store_reader::{FillPage, SearchConfigs, StoreReader};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::share::ClientNetwork;
use futures_util::stream::try_unfold;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::escaped::{self, Escaped};
use crate::api::memory::{MemoryBudget, NoRoom, PATIENCE, Reservation};
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::JSON;
use crate::nacos::http::client;
use crate::nacos::http::search::KeyWrite;

/// Names that are read at a time.
const STEP: u64 = 500;
/// Bytes of content that are read at a time, beyond those of the first item.
const MAX_BYTES: u64 = 1024 * 1024;
/// Bytes that are handed to the connection at a time.
const PIECE: usize = 32 * 1024;

/// Which part of all that fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the page, from one.
    pub(super) number: u64,
    /// Items of a page.
    pub(super) size: u64,
}

/// Why a page can't be read on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The database did not answer as it should.
    #[error("the database: {0:?}")]
    Failed(ReadFailure),
    /// It was not asked.
    #[error(transparent)]
    Unasked(#[from] AskError),
    /// There is no room for it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// An item can't be written.
    #[error(transparent)]
    Unwritten(#[from] serde_json::Error),
    /// An item holds what stands for its content.
    #[error("an item holds what stands for its content")]
    Ambiguous,
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(failure) => failure.into(),
            Broken::Unasked(error) => error.into(),
            Broken::NoRoom(none) => none.into(),
            error @ (Broken::Unwritten(_) | Broken::Ambiguous) => {
                tracing::error!(%error, "an item of a page can't be written as JSON");
                Self::internal()
            }
        }
    }
}

/// A page without items.
pub(super) fn nothing(place: Place) -> Answer {
    Ok(whole([head(place, 0).as_bytes(), END].concat()))
}

/// A page of what `search` finds.
pub(super) async fn page(call: &Call, search: Search, place: Place) -> Answer {
    let store = &call.state.worker.store;
    let skip = (place.number - 1).saturating_mul(place.size);
    let first = Search { skip, limit: step(place.size), ..search.clone() };
    let Found { total, page } = ask(store, SearchConfigs { search: first, line: Line::New }, READ_DEADLINE).await??;
    let left = place.size.min(total.saturating_sub(skip)).saturating_sub(page.len() as u64);
    let mut reading = Reading {
        store: store.clone(),
        search,
        client: client::identity(call, None).into_owned(),
        memory: (call.state.shared.memory.answers.clone(), crate::http::client::network(&call.request)),
        counted: None,
        named: page.into(),
        left,
        is_first: true,
        parts: VecDeque::from([Part::Written(head(place, total).into())]),
    };
    // What fits into one piece is answered as a whole, or refused as a whole.
    reading.read_on(PATIENCE).await.map_err(ApiError::from)?;
    if let Some(body) = reading.whole() {
        return Ok(whole(body));
    }
    let pieces = try_unfold(Some(reading), async |reading| {
        let Some(mut reading) = reading else { return Ok::<_, Broken>(None) };
        let piece = reading.next_piece().await.inspect_err(|error| {
            tracing::warn!(%error, "a page of a search breaks off");
        })?;
        Ok(Some(match piece {
            Some(piece) => (piece, Some(reading)),
            None => (Bytes::from_static(END), None),
        }))
    });
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON))).streaming(Box::pin(pieces)))
}

const END: &[u8] = b"]}";

fn head(Place { number, size }: Place, total: u64) -> String {
    let available = total.div_ceil(size);
    format!("{{\"totalCount\":{total},\"pageNumber\":{number},\"pagesAvailable\":{available},\"pageItems\":[")
}

fn whole(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON))).body(body)
}

fn step(left: u64) -> u32 {
    u32::try_from(left.min(STEP)).unwrap_or(u32::MAX)
}

/// A part of a page.
enum Part {
    /// As it is sent.
    Written(Bytes),
    /// An item with a long content.
    Long(Escaped),
}

/// A page that is being read.
struct Reading {
    store: Addr<StoreReader>,
    search: Search,
    /// Who gets to see it.
    client: ClientIdentity,
    memory: (MemoryBudget, ClientNetwork),
    /// What the parts take up.
    counted: Option<Reservation>,
    /// What is to be written next, with the length of each content.
    named: VecDeque<(ConfigKey, u64)>,
    /// How many follow those.
    left: u64,
    is_first: bool,
    /// What was read, and is not sent yet.
    parts: VecDeque<Part>,
}

impl Reading {
    fn is_done(&self) -> bool {
        self.named.is_empty() && self.left == 0
    }

    /// All of it, when it is there and short.
    fn whole(&mut self) -> Option<Vec<u8>> {
        if !self.is_done() || self.parts.iter().any(|part| matches!(part, Part::Long(_))) {
            return None;
        }
        let mut body = Vec::new();
        for part in self.parts.drain(..) {
            if let Part::Written(bytes) = part {
                body.extend_from_slice(&bytes);
            }
        }
        body.extend_from_slice(END);
        Some(body)
    }

    /// The next bytes of it; `None` when only its end is missing.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let is_done = self.is_done();
            match self.parts.front_mut() {
                Some(Part::Long(text)) => match text.next_piece() {
                    Some(piece) => return Ok(Some(piece)),
                    None => drop(self.parts.pop_front()),
                },
                Some(Part::Written(bytes)) if bytes.len() > PIECE => return Ok(Some(bytes.split_to(PIECE))),
                Some(Part::Written(bytes)) => {
                    let piece = std::mem::take(bytes);
                    drop(self.parts.pop_front());
                    return Ok(Some(piece));
                }
                None if is_done => return Ok(None),
                // Its begin was sent, so it is waited for longer before it breaks off.
                None => self.read_on(READ_DEADLINE).await?,
            }
        }
    }

    /// Reads the next items.
    async fn read_on(&mut self, patience: Duration) -> Result<(), Broken> {
        self.counted = None;
        let mut keys = Vec::new();
        let mut bytes = 0;
        while let Some((key, size)) = self.named.pop_front_if(|(_, size)| keys.is_empty() || bytes + *size <= MAX_BYTES)
        {
            bytes += size;
            keys.push(key);
        }
        let Some(last) = keys.last().cloned() else { return Ok(()) };
        let (memory, network) = &self.memory;
        let mut counted = memory.reserve(*network);
        counted.wait_for(usize::try_from(bytes).unwrap_or(usize::MAX), patience).await?;
        let filled = ask(&self.store, FillPage { keys }, READ_DEADLINE).await?.map_err(Broken::Failed)?;
        self.counted = Some(counted);
        let mut written = Vec::new();
        // One that was removed in between is left out.
        for state in filled.states.iter().filter(|state| !state.is_absent()) {
            if !std::mem::take(&mut self.is_first) {
                written.push(b',');
            }
            match KeyWrite::of(state, &self.client) {
                (item, None) => serde_json::to_writer(&mut written, &item)?,
                (item, Some(content)) => {
                    self.parts.push_back(Part::Written(std::mem::take(&mut written).into()));
                    let text = escaped::around(&content, |place| serde_json::to_vec(&item.with(place)))?;
                    self.parts.push_back(Part::Long(text.ok_or(Broken::Ambiguous)?));
                }
            }
        }
        self.parts.push_back(Part::Written(written.into()));
        if self.named.is_empty() && self.left > 0 {
            self.name_more(last).await?;
        }
        Ok(())
    }

    /// Reads which items come after this one. A page ends early when there are no more by now.
    async fn name_more(&mut self, last: ConfigKey) -> Result<(), Broken> {
        let after = Some((last.group().to_owned(), last.data_id().to_owned()));
        let search = Search { after, limit: step(self.left), ..self.search.clone() };
        let asked = SearchConfigs { search, line: Line::Owed };
        let found = ask(&self.store, asked, READ_DEADLINE).await?.map_err(Broken::Failed)?;
        self.named = found.page.into();
        self.left = if self.named.is_empty() { 0 } else { self.left - (self.named.len() as u64).min(self.left) };
        Ok(())
    }
}
