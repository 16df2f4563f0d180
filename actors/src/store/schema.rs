//! The names of the tables and of their columns, each written once. What they mean stands in the migrations; nothing is
//! made or changed here.

use sea_orm::DeriveIden;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, DeriveIden)]
pub(super) enum Table {
    #[sea_orm(iden = "cc_meta")]
    Meta,
    #[sea_orm(iden = "cc_node")]
    Node,
    #[sea_orm(iden = "cc_config")]
    Config,
    #[sea_orm(iden = "cc_change")]
    Change,
    #[sea_orm(iden = "cc_request")]
    Request,
    #[sea_orm(iden = "cc_namespace")]
    Namespace,
    #[sea_orm(iden = "cc_access")]
    Access,
    #[sea_orm(iden = "cc_audit")]
    Audit,
    #[sea_orm(iden = "cc_migration")]
    Migration,
}

/// The columns of all tables: `cc_config` and `cc_change` share most of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, DeriveIden)]
pub(super) enum Column {
    // Of `cc_meta`; `rev` and `timeline` say as of when an answer is.
    Id,
    Rev,
    Timeline,
    MemberEpoch,
    ClusterId,
    PrunedRev,
    // Of `cc_node`.
    Node,
    Inc,
    RenewSeq,
    AckFloor,
    Revoked,
    Addr,
    BootId,
    Proto,
    DatabaseMember,
    // The key of a configuration.
    Tenant,
    Grp,
    DataId,
    // What a state has besides.
    Version,
    Deleted,
    FormalPresent,
    Md5,
    Kind,
    Description,
    Tags,
    Application,
    UsageNote,
    Effect,
    SchemaText,
    EncryptedDataKey,
    Gray,
    Sealed,
    CreatedAt,
    ModifiedAt,
    Content,
    // What a change has besides.
    Op,
    Channel,
    Operator,
    SourceAddress,
    ClientId,
    Note,
    RequestId,
    At,
    // Of `cc_audit`, with `node`, `at` and `body`.
    Seq,
    Hash,
    // Of `cc_request`.
    Result,
    // Of `cc_namespace`; `name` and `body` of `cc_access`, too.
    Name,
    Body,
}

/// Names that a select list gives to what it asks for.
#[derive(Debug, Clone, Copy, DeriveIden)]
pub(super) enum Alias {
    HeadRev,
    HeadTimeline,
    HeadFloor,
    HeadReadOnly,
    DatabaseSystem,
    DatabaseBranch,
    Size,
    Number,
    Text,
}

/// The columns of a key.
pub(super) const KEY: [Column; 3] = [Column::Tenant, Column::Grp, Column::DataId];

/// The columns of `cc_config` and of `cc_change` that hold digest, metadata and gray contents.
pub(super) const ATTRIBUTES: [Column; 12] = [
    Column::FormalPresent,
    Column::Md5,
    Column::Kind,
    Column::Description,
    Column::Tags,
    Column::Application,
    Column::UsageNote,
    Column::Effect,
    Column::SchemaText,
    Column::EncryptedDataKey,
    Column::Gray,
    Column::Sealed,
];

/// The columns of a change that say who asked.
pub(super) const ORIGIN: [Column; 5] =
    [Column::Channel, Column::Operator, Column::SourceAddress, Column::ClientId, Column::Note];
