//! The access table of Nacos's clients: every class of request that they may send, the class of its answer, and what it
//! needs. What is not in it is refused.

use callboard_protocol::access::grant::Action;

use crate::api::access::Access;

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
    /// A part of Nacos that is not here, for this reason.
    Absent(&'static str),
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

/// What to do where an application asks for service discovery.
const NO_NAMING: &str =
    "there is no service discovery here: switch it off (spring.cloud.nacos.discovery.enabled=false)";
/// What to do where an application asks for locks.
const NO_LOCKS: &str = "there are no locks here: use another server for them";

/// A class of request of a part that is not here. It is refused in the class that its client waits for: upon any other
/// the Java SDK takes its connection for broken, and connects anew every few seconds.
const fn absent(class: &'static str, answer: &'static str, why: &'static str) -> Row {
    row(class, answer, Kind::Absent(why), Access::Public)
}

/// Every class of request with an answer.
pub(super) static TABLE: [Row; 16] = [
    row("ServerCheckRequest", "ServerCheckResponse", Kind::ServerCheck, Access::Public),
    row("HealthCheckRequest", "HealthCheckResponse", Kind::HealthCheck, Access::Public),
    row("ConfigQueryRequest", "ConfigQueryResponse", Kind::Query, Access::Named(Action::Read)),
    row("ConfigPublishRequest", "ConfigPublishResponse", Kind::Publish, Access::Named(Action::Write)),
    row("ConfigRemoveRequest", "ConfigRemoveResponse", Kind::Remove, Access::Named(Action::Write)),
    row("ConfigBatchListenRequest", "ConfigChangeBatchListenResponse", Kind::Listen, Access::Named(Action::Read)),
    row("ConfigFuzzyWatchRequest", "ConfigFuzzyWatchResponse", Kind::FuzzyWatch, Access::Named(Action::Read)),
    row("PushAckRequest", "PushAckResponse", Kind::PushAck, Access::Public),
    absent("InstanceRequest", "InstanceResponse", NO_NAMING),
    absent("PersistentInstanceRequest", "InstanceResponse", NO_NAMING),
    absent("BatchInstanceRequest", "BatchInstanceResponse", NO_NAMING),
    absent("ServiceQueryRequest", "QueryServiceResponse", NO_NAMING),
    absent("ServiceListRequest", "ServiceListResponse", NO_NAMING),
    absent("SubscribeServiceRequest", "SubscribeServiceResponse", NO_NAMING),
    absent("NamingFuzzyWatchRequest", "NamingFuzzyWatchResponse", NO_NAMING),
    absent("LockOperationRequest", "LockOperationResponse", NO_LOCKS),
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
        assert!(find(simple("MemberReportRequest")).is_none() && find(simple("")).is_none());
        let classes: BTreeSet<_> = TABLE.iter().map(|row| row.class).collect();
        assert_eq!(classes.len(), TABLE.len());
        assert!(TABLE.iter().all(|row| row.class.ends_with("Request") && row.answer.ends_with("Response")));
    }
}
