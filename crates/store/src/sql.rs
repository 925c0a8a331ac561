//! Statements, parameters and rows: one way of speaking to two drivers, chosen at run time.
//!
//! Must not know any table.

use sqlx::{Row as _, TypeInfo, ValueRef};

use crate::dialect::Dialect;
use crate::error::{Result, StoreError};

/// A statement as written in the source with `sql!`; its tokens are expanded per database ([`crate::dialect`]).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql(pub(crate) &'static str);

/// Marks a statement, so that a test finds it and prepares it on both databases.
macro_rules! sql {
    ($text:literal) => {
        $crate::sql::Sql($text)
    };
}

/// The parameters of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::sql::Value::from($value)),*]
    };
}

pub(crate) use args;
pub(crate) use sql;

/// A parameter. NULL keeps its type, because PostgreSQL asks for it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(Option<bool>),
    Real(f64),
}

macro_rules! from {
    ($($t:ty => |$v:ident| $e:expr),+ $(,)?) => { $(impl From<$t> for Value { fn from($v: $t) -> Value { $e } })+ };
}

from! {
    i64 => |v| Value::Int(Some(v)),
    Option<i64> => |v| Value::Int(v),
    i32 => |v| Value::Int(Some(v.into())),
    u32 => |v| Value::Int(Some(v.into())),
    u8 => |v| Value::Int(Some(v.into())),
    u16 => |v| Value::Int(Some(v.into())),
    usize => |v| Value::Int(Some(i64::try_from(v).unwrap_or(i64::MAX))),
    &str => |v| Value::Text(Some(v.to_owned())),
    Option<&str> => |v| Value::Text(v.map(str::to_owned)),
    String => |v| Value::Text(Some(v)),
    &String => |v| Value::Text(Some(v.clone())),
    Option<String> => |v| Value::Text(v),
    Vec<u8> => |v| Value::Bytes(Some(v)),
    &[u8] => |v| Value::Bytes(Some(v.to_vec())),
    [u8; 32] => |v| Value::Bytes(Some(v.to_vec())),
    Option<Vec<u8>> => |v| Value::Bytes(v),
    bool => |v| Value::Bool(Some(v)),
    Option<bool> => |v| Value::Bool(v),
    f64 => |v| Value::Real(v),
    serde_json::Value => |v| Value::Text(Some(v.to_string())),
    &serde_json::Value => |v| Value::Text(Some(v.to_string())),
}

macro_rules! from_ids {
    ($($id:ident),+ $(,)?) => { $(
        impl From<postrider_domain::id::$id> for Value {
            fn from(v: postrider_domain::id::$id) -> Value { Value::Int(Some(v.get())) }
        }
        impl From<Option<postrider_domain::id::$id>> for Value {
            fn from(v: Option<postrider_domain::id::$id>) -> Value { Value::Int(v.map(|v| v.get())) }
        }
    )+ };
}

from_ids!(
    WorkspaceId,
    ContactId,
    ListId,
    PurposeId,
    WordingId,
    CampaignId,
    VariantId,
    VersionId,
    DeliveryId,
    AttemptId,
    MessageId,
    SuppressionId,
    DomainId,
    DkimKeyId,
    RouteId,
    SourceId,
    PoolId,
    AccountId,
    ApiKeyId,
    ImportId,
    AuditId,
    InquiryId,
    TemplateId,
    ViewId,
    PictureId,
    AlarmId,
    QueueRuleId,
    NodeId,
    LaneId,
    CredentialId,
    RelayNoteId,
);

/// The JSON text of rows for a `{rows}` token.
pub(crate) fn rows_json<T: serde::Serialize>(rows: &[T]) -> Value {
    Value::Text(Some(serde_json::to_string(rows).expect("rows have text keys and plain values")))
}

/// A connection of either driver, borrowed for one statement.
pub(crate) enum Conn<'c> {
    Sqlite(&'c mut sqlx::SqliteConnection),
    Postgres(&'c mut sqlx::PgConnection),
}

/// Binds every value and runs `$run` on the query; the two drivers have the same methods and different types.
macro_rules! run {
    ($conn:expr, $sql:expr, $args:expr, |$query:ident, $c:ident| $body:expr) => {
        match $conn {
            Conn::Sqlite($c) => {
                let mut $query = sqlx::query::<sqlx::Sqlite>(Dialect::Sqlite.text($sql.0));
                for value in $args {
                    $query = match value {
                        Value::Int(v) => $query.bind(v),
                        Value::Text(v) => $query.bind(v),
                        Value::Bytes(v) => $query.bind(v),
                        Value::Bool(v) => $query.bind(v),
                        Value::Real(v) => $query.bind(v),
                    };
                }
                $body.map(|r| (r.0, r.1.into_iter().map(Row::Sqlite).collect::<Vec<Row>>()))
            }
            Conn::Postgres($c) => {
                let mut $query = sqlx::query::<sqlx::Postgres>(Dialect::Postgres.text($sql.0));
                for value in $args {
                    $query = match value {
                        Value::Int(v) => $query.bind(v),
                        Value::Text(v) => $query.bind(v),
                        Value::Bytes(v) => $query.bind(v),
                        Value::Bool(v) => $query.bind(v),
                        Value::Real(v) => $query.bind(v),
                    };
                }
                $body.map(|r| (r.0, r.1.into_iter().map(Row::Postgres).collect::<Vec<Row>>()))
            }
        }
    };
}

impl Conn<'_> {
    /// Runs a statement; the number of rows that it changed.
    pub(crate) async fn execute(self, sql: Sql, args: Vec<Value>) -> Result<u64> {
        let done: std::result::Result<(u64, Vec<Row>), sqlx::Error> =
            run!(self, sql, args, |q, c| q.execute(c).await.map(|d| (d.rows_affected(), Vec::new())));
        Ok(done?.0)
    }

    /// Every row of a statement.
    pub(crate) async fn all(self, sql: Sql, args: Vec<Value>) -> Result<Vec<Row>> {
        let done = run!(self, sql, args, |q, c| q.fetch_all(c).await.map(|rows| (0, rows)));
        Ok(done?.1)
    }
}

/// A row of either driver.
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

/// Reads a column as `$t`; `None` for NULL.
macro_rules! get {
    ($row:expr, $name:expr, $t:ty) => {
        match $row {
            Row::Sqlite(row) => row.try_get::<Option<$t>, _>($name),
            Row::Postgres(row) => row.try_get::<Option<$t>, _>($name),
        }
        .map_err(|error| damaged($name, &error))
    };
}

fn damaged(name: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("column {name}: {error}"))
}

fn missing(name: &str) -> StoreError {
    StoreError::Corrupt(format!("column {name}: empty where a value must be"))
}

impl Row {
    /// A whole number, or NULL.
    pub(crate) fn int_opt(&self, name: &str) -> Result<Option<i64>> {
        match self {
            Row::Sqlite(_) => get!(self, name, i64),
            Row::Postgres(row) => {
                let raw = row.try_get_raw(name).map_err(|error| damaged(name, &error))?;
                match raw.type_info().name() {
                    // A literal or a function such as length() gives 32 bits.
                    "INT4" => get!(self, name, i32).map(|v| v.map(i64::from)),
                    "INT2" => get!(self, name, i16).map(|v| v.map(i64::from)),
                    _ => get!(self, name, i64),
                }
            }
        }
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Result<i64> {
        self.int_opt(name)?.ok_or_else(|| missing(name))
    }

    /// A text, or NULL.
    pub(crate) fn text_opt(&self, name: &str) -> Result<Option<String>> {
        get!(self, name, String)
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        self.text_opt(name)?.ok_or_else(|| missing(name))
    }

    /// Bytes, or NULL.
    pub(crate) fn bytes_opt(&self, name: &str) -> Result<Option<Vec<u8>>> {
        get!(self, name, Vec<u8>)
    }

    /// Bytes.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.bytes_opt(name)?.ok_or_else(|| missing(name))
    }

    /// True or false, or NULL; SQLite stores 0 and 1.
    pub(crate) fn bool_opt(&self, name: &str) -> Result<Option<bool>> {
        match self {
            Row::Sqlite(_) => Ok(self.int_opt(name)?.map(|v| v != 0)),
            Row::Postgres(_) => get!(self, name, bool),
        }
    }

    /// True or false.
    pub(crate) fn bool(&self, name: &str) -> Result<bool> {
        self.bool_opt(name)?.ok_or_else(|| missing(name))
    }

    /// Rows that were made one by `{pack a, b} AS packed`; fields of `T` in the order of the columns.
    pub(crate) fn packed<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>> {
        // The error text of serde_json can quote a value, which may be personal; the place is enough.
        serde_json::from_str(&self.text("packed")?)
            .map_err(|error| StoreError::Corrupt(format!("packed rows: another form in column {}", error.column())))
    }
}
