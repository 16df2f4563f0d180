//! A page of a search, of any size: clients ask for thousands of items, read one page and stop, so that none may be cut
//! short. Owns the form of a page and the steps in which a long one is read and written: what is held of it is a step
//! of names and a few contents, however slowly its client reads. A long page that can't be read to its end breaks off,
//! so that nobody takes it for a whole one.

use callboard_protocol::gray::ClientIdentity;
use std::collections::VecDeque;

use actix::Addr;
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use callboard_actors::cache::ReadFailure;
use callboard_actors::runtime::{AskError, ask};
use callboard_actors::store::{Found, Line, Search};
use callboard_actors::store_reader::{FillPage, SearchConfigs, StoreReader};
use callboard_protocol::key::ConfigKey;
use futures_util::stream::try_unfold;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::JSON;
use crate::nacos::http::search::KeyWrite;

/// Names that are read at a time.
const STEP: u64 = 500;
/// Bytes of content that are read at a time, beyond those of the first item.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

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
    /// An item can't be written.
    #[error(transparent)]
    Unwritten(#[from] serde_json::Error),
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(failure) => failure.into(),
            Broken::Unasked(error) => error.into(),
            Broken::Unwritten(error) => {
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
pub(super) async fn page(
    store: &Addr<StoreReader>,
    (search, client): (Search, ClientIdentity),
    place: Place,
) -> Answer {
    let skip = (place.number - 1).saturating_mul(place.size);
    let first = Search { skip, limit: step(place.size), ..search.clone() };
    let Found { total, page } = ask(store, SearchConfigs { search: first, line: Line::New }, READ_DEADLINE).await??;
    let left = place.size.min(total.saturating_sub(skip)).saturating_sub(page.len() as u64);
    let mut reading = Reading { store: store.clone(), search, client, named: page.into(), left, is_first: true };
    let head = head(place, total);
    // What fits into one piece is answered as a whole, or refused as a whole.
    let piece = reading.piece().await.map_err(ApiError::from)?;
    if reading.is_done() {
        return Ok(whole([head.as_bytes(), &piece, END].concat()));
    }
    let begin = Bytes::from([head.as_bytes(), &piece].concat());
    let pieces = try_unfold((Some(begin), Some(reading)), async |(begin, reading)| match (begin, reading) {
        (Some(begin), reading) => Ok(Some((begin, (None, reading)))),
        (None, Some(mut reading)) => {
            let mut piece = reading.piece().await.inspect_err(|error| {
                tracing::warn!(%error, "a page of a search breaks off");
            })?;
            let is_done = reading.is_done();
            if is_done {
                piece.extend_from_slice(END);
            }
            Ok(Some((Bytes::from(piece), (None, Some(reading).filter(|_| !is_done)))))
        }
        (None, None) => Ok::<_, Broken>(None),
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

/// A page that is being read.
struct Reading {
    store: Addr<StoreReader>,
    search: Search,
    /// Who gets to see it.
    client: ClientIdentity,
    /// What is to be written next, with the length of each content.
    named: VecDeque<(ConfigKey, u64)>,
    /// How many follow those.
    left: u64,
    is_first: bool,
}

impl Reading {
    fn is_done(&self) -> bool {
        self.named.is_empty() && self.left == 0
    }

    /// The next items, as they are written.
    async fn piece(&mut self) -> Result<Vec<u8>, Broken> {
        let mut keys = Vec::new();
        let mut bytes = 0;
        while let Some((key, size)) = self.named.pop_front_if(|(_, size)| keys.is_empty() || bytes + *size <= MAX_BYTES)
        {
            bytes += size;
            keys.push(key);
        }
        let Some(last) = keys.last().cloned() else { return Ok(Vec::new()) };
        let filled = ask(&self.store, FillPage { keys }, READ_DEADLINE).await?.map_err(Broken::Failed)?;
        let mut piece = Vec::new();
        // One that was removed in between is left out.
        for state in filled.states.iter().filter(|state| !state.is_absent()) {
            if !std::mem::take(&mut self.is_first) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &KeyWrite::of(state, &self.client))?;
        }
        if self.named.is_empty() && self.left > 0 {
            self.name_more(last).await?;
        }
        Ok(piece)
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
