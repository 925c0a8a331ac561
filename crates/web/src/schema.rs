//! How ids, closed words, times and findings look in the OpenAPI file, and the types that carry them.
//!
//! Must not know: any single resource.

use postrider_domain::campaign::Finding;
use postrider_domain::schedule::rfc3339;
use postrider_store::secret::Secret;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};

/// A time: i64 milliseconds UTC inside, RFC 3339 text outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        parse_rfc3339(&text)
            .map(Time)
            .ok_or_else(|| serde::de::Error::custom("a time should be written like 2026-12-01T09:00:00Z (RFC 3339)"))
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Time {
    fn name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
}

/// Reads an RFC 3339 time with `Z` or a numeric offset into milliseconds UTC; years 1970 to 9999.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let at = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    (0..253_402_300_800_000).contains(&at).then_some(at)
}

/// A text that is never shown again: a password, a code.
#[derive(Debug, Clone)]
pub struct Password(pub Secret);

impl<'de> serde::Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Password, D::Error> {
        String::deserialize(deserializer).map(|text| Password(Secret::new(text)))
    }
}

impl utoipa::PartialSchema for Password {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .write_only(true)
            .into()
    }
}

impl utoipa::ToSchema for Password {
    fn name() -> std::borrow::Cow<'static, str> {
        "Password".into()
    }
}

/// One thing that is wrong or doubtful with a campaign.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct FindingView {
    /// Fixed word for programs, e.g. `no_purpose`.
    pub code: String,
    /// `error` refuses test, schedule and start; `warning` is only shown.
    #[schema(value_type = Severity)]
    pub severity: postrider_domain::campaign::Severity,
    /// The field that it is about, e.g. `subject`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line in the field, 1-based, when known.
    pub line: Option<u32>,
    /// Column in the line, 1-based, when known.
    pub column: Option<u32>,
}

impl From<Finding> for FindingView {
    fn from(f: Finding) -> FindingView {
        FindingView {
            code: f.code,
            severity: f.severity,
            field: f.field,
            message: f.message,
            line: f.line,
            column: f.column,
        }
    }
}

/// The schema of an id: its prefix and 13 letters.
pub fn id(prefix: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some(format!("^{prefix}_[0-9a-hjkmnp-tv-z]{{13}}$")))
        .into()
}

/// The schema of a closed list of words.
fn words(all: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(all.into_iter().map(Value::from).collect::<Vec<_>>()))
        .into()
}

/// Defines one type per id or closed word that only describes it: `value_type = s::CampaignId` in a view.
macro_rules! described {
    ($($name:ident => $schema:expr),+ $(,)?) => { $(
        /// Describes the type of the same name in `postrider-domain` for the OpenAPI file.
        pub struct $name;
        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> { $schema }
        }
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
        }
    )+ };
}

macro_rules! ids {
    ($($name:ident),+ $(,)?) => { described! { $($name => id(postrider_domain::id::$name::PREFIX)),+ } };
}

macro_rules! closed {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        described! { $($name => words(postrider_domain::$module::$name::ALL.iter().map(|w| w.as_str()))),+ }
    };
}

ids! {
    WorkspaceId, AlarmId, ContactId, ListId, PurposeId, WordingId, CampaignId, VariantId, VersionId, DeliveryId, AttemptId,
    MessageId, SuppressionId, DomainId, DkimKeyId, RouteId, SourceId, PoolId, AccountId, ApiKeyId, ImportId, AuditId, InquiryId,
    TemplateId, ViewId, PictureId, QueueRuleId, CredentialId, RelayNoteId,
}

closed! {
    access::Scope, access::Role, alarm::AlarmKind, alarm::AlarmSeverity, campaign::Severity, campaign::CampaignState, campaign::Objective,
    campaign::BodyFormat, consent::PurposeKind, consent::ConsentState, consent::LegalBasis, consent::LedgerKind,
    bounce::BounceClass, contact::AddressState, egress::SourceState, gate::Withheld, import::ImportState, outcome::AttemptResult, outcome::OutcomeKind,
    outcome::ReportStatus, queue::QueueState, relay::CredentialKind, relay::RecipientMode, relay::RefusedFor, steering::SteerAction, route::ExclusionPolicy, route::RouteKind, route::Signing, route::TlsDemand, route::TlsMode, signing_key::KeyState, stream::Stream, stream::InDoubtPolicy,
    stream::TrackingMode, suppression::SuppressionReason, suppression::SuppressionScope,
}

described! {
    AlarmState => words(postrider_store::alarm::AlarmState::ALL.iter().map(|w| w.as_str())),
    AlarmStates => words(["open", "acknowledged", "resolved", "all"]),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_as_written_and_nonsense_is_not() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-12-01T10:00:00+01:00", parse_rfc3339("2026-12-01T09:00:00Z")),
            ("2026-12-01T09:00:00.5Z", parse_rfc3339("2026-12-01T09:00:00Z").map(|t| t + 500)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-12-01T10:00:00", None),
            ("2026-12-01T25:00:00Z", None),
            ("yesterday", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-12-01T10:00:00Zx", None),
        ] {
            assert_eq!(parse_rfc3339(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn our_own_text_comes_back(ms in 0i64..253_402_300_799_999) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
