//! The access table of native sessions: every kind of message that a client may send, and the access that it needs.
//! What is not in it is refused.

use callboard_proto::session::envelope::Kind;

use crate::api::access::{Access, Principal};
use crate::api::error::ApiError;

/// A kind of message.
pub(super) struct Row {
    /// As it is named over WebSocket.
    pub(super) kind: &'static str,
    /// What it needs.
    pub(super) access: Access,
}

const fn row(kind: &'static str, access: Access) -> Row {
    Row { kind, access }
}

/// Every kind that a client may send.
pub(super) static TABLE: [Row; 11] = [
    row("hello", Access::Public),
    row("ping", Access::Public),
    row("pong", Access::Public),
    row("get", Access::Read),
    row("list", Access::Read),
    row("watch", Access::Read),
    row("unwatch", Access::Read),
    row("applied", Access::Read),
    row("rejected", Access::Read),
    row("publish", Access::Write),
    row("delete", Access::Write),
];

/// The name of a kind.
pub(super) fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Hello(_) => "hello",
        Kind::Get(_) => "get",
        Kind::List(_) => "list",
        Kind::Publish(_) => "publish",
        Kind::Delete(_) => "delete",
        Kind::Watch(_) => "watch",
        Kind::Unwatch(_) => "unwatch",
        Kind::Applied(_) => "applied",
        Kind::Rejected(_) => "rejected",
        Kind::Ping(_) => "ping",
        Kind::Pong(_) => "pong",
        Kind::Welcome(_) => "welcome",
        Kind::Config(_) => "config",
        Kind::Page(_) => "page",
        Kind::Published(_) => "published",
        Kind::Watching(_) => "watching",
        Kind::Unwatched(_) => "unwatched",
        Kind::Push(_) => "push",
        Kind::GoAway(_) => "goAway",
        Kind::Error(_) => "error",
    }
}

/// May this be asked? `None` when it is nothing that a client asks.
pub(super) fn may(principal: &Principal, kind: &Kind) -> Option<Result<(), ApiError>> {
    let name = name(kind);
    TABLE.iter().find(|row| row.kind == name).map(|row| principal.require(row.access))
}

#[cfg(test)]
mod tests {
    //! The table holds what a client may send, and nothing that a node says.

    use std::collections::BTreeSet;

    use callboard_proto::json::KINDS;

    use super::TABLE;

    #[test]
    fn every_kind_is_either_in_the_table_or_said_by_nodes_alone() {
        let said_by_nodes =
            ["welcome", "config", "page", "published", "watching", "unwatched", "push", "goAway", "error"];
        let table: BTreeSet<&str> = TABLE.iter().map(|row| row.kind).collect();
        let expected: BTreeSet<&str> = KINDS.into_iter().filter(|kind| !said_by_nodes.contains(kind)).collect();
        assert_eq!(table, expected);
        assert_eq!(table.len(), TABLE.len(), "no kind twice");
    }
}
