//! Pages of lists: how long they are, and where the next one begins. Owns the numbers and the cursor; reads nothing.

use callboard_actors::store::Summary;
use callboard_protocol::wire::cursor::{FilterDigest, ListCursor};

/// Most items of a page.
pub(crate) const MAX_PAGE: u32 = 500;
/// Items of a page when nobody says.
pub(crate) const PAGE: u32 = 100;

/// The items of a page, and the cursor of the next one when one item more than `limit` was found.
pub(crate) fn cut(mut found: Vec<Summary>, limit: u32, digest: &FilterDigest) -> (Vec<Summary>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| {
        let cursor = ListCursor { group: last.key.group().to_owned(), data_id: last.key.data_id().to_owned() };
        cursor.encode(digest)
    });
    (found, next)
}
