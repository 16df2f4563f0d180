//! The access table of native sessions: every kind of message that a client may send, the access that it needs, and
//! whether it is answered. What is not in it is refused.

use callboard_proto::session::envelope::Kind;
use callboard_protocol::access::grant::Action;

use crate::api::access::Access;

/// A kind of message.
pub(super) struct Row {
    /// As it is named over WebSocket.
    pub(super) kind: &'static str,
    /// What it needs.
    pub(super) access: Access,
    /// Whether it is answered, and needs a number for that.
    pub(super) is_answered: bool,
}

/// What a client says, and nobody answers by its number.
const fn said(kind: &'static str, access: Access) -> Row {
    Row { kind, access, is_answered: false }
}

/// What a client asks.
const fn asked(kind: &'static str, access: Access) -> Row {
    Row { kind, access, is_answered: true }
}

/// Every kind that a client may send.
pub(super) static TABLE: [Row; 12] = [
    said("hello", Access::Public),
    said("ping", Access::Public),
    said("pong", Access::Public),
    said("hold", Access::Known),
    asked("get", Access::Named(Action::Read)),
    asked("list", Access::Named(Action::Read)),
    asked("watch", Access::Named(Action::Read)),
    asked("unwatch", Access::Named(Action::Read)),
    said("applied", Access::Named(Action::Read)),
    said("rejected", Access::Named(Action::Read)),
    asked("publish", Access::Named(Action::Write)),
    asked("delete", Access::Named(Action::Write)),
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
        Kind::Hold(_) => "hold",
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

/// The row of a kind; `None` when it is nothing that a client says.
pub(super) fn find(kind: &Kind) -> Option<&'static Row> {
    let name = name(kind);
    TABLE.iter().find(|row| row.kind == name)
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
