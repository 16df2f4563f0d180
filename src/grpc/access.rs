//! The access table of Nacos's clients: every class of request that they may send, the class of its answer, and what it
//! needs. What is not in it is refused.

use crate::http::access::Access;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Is a server there?
    ServerCheck,
    /// Is the connection in order?
    HealthCheck,
    /// The state of a configuration.
    Query,
    /// Publish a configuration.
    Publish,
    /// Remove a configuration.
    Remove,
    /// Listen to configurations, or not any longer.
    Listen,
    /// Watch a pattern, or not any longer.
    FuzzyWatch,
    /// An acknowledgement that old clients send so. It is not needed.
    PushAck,
}

/// A class of request.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name.
    pub(super) class: &'static str,
    /// The class of its answer.
    pub(super) answer: &'static str,
    /// What is asked.
    pub(super) kind: Kind,
    /// What it needs.
    pub(super) access: Access,
}

impl Row {
    /// Whether the connection has to be set up before it.
    pub(super) fn needs_setup(&self) -> bool {
        self.kind != Kind::ServerCheck
    }
}

const fn row(class: &'static str, answer: &'static str, kind: Kind, access: Access) -> Row {
    Row { class, answer, kind, access }
}

/// Every class of request with an answer.
pub(super) static TABLE: [Row; 8] = [
    row("ServerCheckRequest", "ServerCheckResponse", Kind::ServerCheck, Access::Public),
    row("HealthCheckRequest", "HealthCheckResponse", Kind::HealthCheck, Access::Public),
    row("ConfigQueryRequest", "ConfigQueryResponse", Kind::Query, Access::Read),
    row("ConfigPublishRequest", "ConfigPublishResponse", Kind::Publish, Access::Write),
    row("ConfigRemoveRequest", "ConfigRemoveResponse", Kind::Remove, Access::Write),
    row("ConfigBatchListenRequest", "ConfigChangeBatchListenResponse", Kind::Listen, Access::Read),
    row("ConfigFuzzyWatchRequest", "ConfigFuzzyWatchResponse", Kind::FuzzyWatch, Access::Read),
    row("PushAckRequest", "PushAckResponse", Kind::PushAck, Access::Public),
];

/// The class of a message without the package that very old clients put in front of it.
pub(super) fn simple(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or_default()
}

/// The row of a class.
pub(super) fn find(class: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.class == class)
}

#[cfg(test)]
mod tests {
    //! Classes are found by their names, in whatever package.

    use std::collections::BTreeSet;

    use super::{TABLE, find, simple};

    #[test]
    fn classes_are_found() {
        let found = find(simple("com.alibaba.nacos.api.config.remote.request.ConfigQueryRequest"));
        assert_eq!(found.map(|row| row.answer), Some("ConfigQueryResponse"));
        assert!(find(simple("InstanceRequest")).is_none() && find(simple("")).is_none());
        let classes: BTreeSet<_> = TABLE.iter().flat_map(|row| [row.class, row.answer]).collect();
        assert_eq!(classes.len(), 2 * TABLE.len());
    }
}
