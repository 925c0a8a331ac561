//! From a draft to something that may leave: the check before a launch, previews, test messages, kept versions.
//!
//! Must not know HTTP. Rules come from `postrider-domain`, texts from `postrider-content`; here they are brought together.

use std::collections::BTreeSet;

use postrider_content::{
    Compilation, CompileInput, Compiled, ListFacts, MessageFacts, Prepared, RENDERER, RecipientView, Rendered, Sender,
};
use postrider_domain::campaign::{Draft, Finding, Severity, launch_findings};
use postrider_domain::id::{CampaignId, DeliveryId, MessageId, RouteId, VariantId, letters};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteKind;
use postrider_domain::stream::Stream;
use postrider_mail::mailbox::Mailbox;
use postrider_mail::message_id;
use postrider_mail::token::{HostedToken, MailtoToken, OptOutToken};
use postrider_store::campaign::{NewVersion, Variant};
use postrider_store::contact::ContactFilter;
use postrider_store::lane::UNRESOLVED;
use postrider_store::message::{NewMessage, Recipient};
use postrider_store::page::PageRequest;
use postrider_store::{KeyPurpose, StoreError};
use serde_json::{Map, Value, json};

use crate::Web;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema::parse_rfc3339;

/// Contacts looked at to learn which attributes exist in a workspace.
const LOOK_AT: u32 = 500;

/// The finding about a From domain whose DNS is red; a start may override it with a reason.
pub const RED_DOMAIN: &str = "sending_domain_red";
/// A look at DNS counts so long, in milliseconds.
const FRESH_MS: i64 = 24 * 3_600_000;

/// What a check found.
pub struct Checked {
    /// Errors first, then warnings.
    pub findings: Vec<Finding>,
    /// The compiled text; `None` when it has an error of its own.
    pub compiled: Option<Compiled>,
}

/// Names of contact attributes that exist: those of the newest contacts, of members of the audience's lists, and of what
/// imports read. A name that nobody in there has is taken for a slip of the pen.
async fn attributes(web: &Web, caller: &Caller, campaign: CampaignId) -> Result<BTreeSet<String>, Problem> {
    let store = web.store();
    let audience = store.campaign(caller.workspace, campaign).await?.audience;
    let mut names = BTreeSet::new();
    let filters = std::iter::once(None).chain(audience.include.into_iter().take(10).map(Some));
    for list in filters {
        let filter = ContactFilter { mailbox_prefix: None, list };
        match store.contacts(caller.workspace, &filter, &PageRequest::first(LOOK_AT)).await {
            Ok(page) => names.extend(page.items.into_iter().flat_map(|contact| contact.attributes.into_keys())),
            // A list that is gone is a finding of its own.
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // A sample of the whole book, and what the newest imports read or are about to read.
    names.extend(store.attributes(caller.workspace).await?.with_value.into_keys());
    for import in store.imports(caller.workspace, &PageRequest::first(50)).await?.items {
        names.extend(import.mapping.attributes.into_values());
    }
    Ok(names)
}

/// Compiles where it stops nobody: texts are hostile and may cost time.
async fn compile(draft: Draft, sender: Sender, attributes: BTreeSet<String>) -> Result<Compilation, Problem> {
    tokio::task::spawn_blocking(move || {
        postrider_content::compile(&CompileInput {
            draft: &draft,
            stream: Stream::Marketing,
            sender: &sender,
            attributes: &attributes,
        })
    })
    .await
    .map_err(|_| Problem::internal())
}

/// The variant whose text is shown and sent; campaigns have one so far.
///
/// # Errors
/// The workspace has no such campaign.
pub async fn variant(web: &Web, caller: &Caller, id: CampaignId) -> Result<Variant, Problem> {
    let variants = web.store().variants(caller.workspace, id).await?;
    variants.into_iter().next().ok_or_else(|| Problem::conflict("the campaign has no text: make it anew"))
}

/// An error when the newest look at the From domain's DNS is red and not too old. A domain that was not looked at, or for
/// which DNS gave no answer, stops nobody.
async fn red_domain(web: &Web, caller: &Caller, draft: &Draft) -> Result<Option<Finding>, Problem> {
    let Ok(from) = Mailbox::parse(&draft.from_mailbox) else { return Ok(None) };
    let domains = web.store().domains(caller.workspace).await?;
    let Some(domain) = domains.into_iter().find(|domain| domain.name == from.domain().as_str()) else {
        return Ok(None);
    };
    let Some(checked) = domain.checked else { return Ok(None) };
    let at = checked["at"].as_str().and_then(parse_rfc3339);
    if at.is_none_or(|at| at <= web.now() - FRESH_MS) {
        return Ok(None);
    }
    let red = |finding: &&Value| finding["state"] == "red";
    let codes: Vec<&str> =
        checked["findings"].as_array().into_iter().flatten().filter(red).filter_map(|f| f["code"].as_str()).collect();
    if codes.is_empty() {
        return Ok(None);
    }
    let found = format!("DNS of {} is not as receivers ask for ({})", domain.name, codes.join(", "));
    // Nobody can publish anything under .test (RFC 6761 6.2): such a domain sends into a simulated world.
    Ok(Some(if domain.name.ends_with(".test") {
        Finding::warning(RED_DOMAIN, "from_mailbox", format!("{found}; names under .test exist in rehearsals only"))
    } else {
        let remedy = "correct it and look again; a start despite that needs a reason";
        Finding::error(RED_DOMAIN, "from_mailbox", format!("{found}: {remedy}"))
    }))
}

/// Checks everything that must be right before a test, a schedule or a start.
///
/// # Errors
/// The workspace has no such campaign, or the database fails.
pub async fn check(web: &Web, caller: &Caller, id: CampaignId) -> Result<Checked, Problem> {
    let campaign = web.store().campaign(caller.workspace, id).await?;
    let draft = variant(web, caller, id).await?.draft;
    let facts = web.store().launch_facts(caller.workspace, id, &draft).await?;
    let sender = Sender {
        controller_name: facts.controller_name.clone(),
        postal_address: facts.postal_address.clone(),
        privacy_url: facts.privacy_url.clone(),
    };
    let mut findings = launch_findings(&draft, &campaign.audience, &facts);
    findings.extend(red_domain(web, caller, &draft).await?);
    let names = attributes(web, caller, id).await?;
    let compilation = compile(draft, sender, names).await?;
    for finding in compilation.findings {
        // Both sides know some rules; each is told once.
        if !findings.iter().any(|f| f.code == finding.code && f.field == finding.field && f.line == finding.line) {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|f| match f.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
    });
    Ok(Checked { findings, compiled: compilation.compiled })
}

/// Keeps a compiled text; the engine sends from it. The same text is kept once.
///
/// # Errors
/// The database fails.
pub async fn keep(web: &Web, caller: &Caller, variant: VariantId, compiled: &Compiled) -> Result<(), Problem> {
    let bytes = compiled.to_bytes();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref().to_vec();
    let uses = compiled.variables().to_vec();
    let new = NewVersion { renderer: i64::from(RENDERER), hash, compiled: bytes, uses };
    web.store().save_version(caller.workspace, variant, new).await?;
    Ok(())
}

/// A line of the audit for an action whose transaction writes none.
///
/// # Errors
/// The database fails.
pub async fn note(web: &Web, caller: &Caller, action: &str, id: CampaignId) -> Result<(), Problem> {
    Ok(web.store().note_act(Some(caller.workspace), &caller.actor, action, &id.to_string(), json!({})).await?)
}

/// The text made ready, or the list of what is wrong with the text itself.
async fn prepared(web: &Web, caller: &Caller, id: CampaignId) -> Result<Prepared, Problem> {
    let workspace = web.store().workspace(caller.workspace).await?;
    let draft = variant(web, caller, id).await?.draft;
    let sender = Sender {
        controller_name: workspace.controller_name,
        postal_address: workspace.postal_address,
        privacy_url: workspace.privacy_url,
    };
    let names = attributes(web, caller, id).await?;
    let compilation = compile(draft, sender, names).await?;
    let compiled = compilation.compiled.ok_or_else(|| Problem::not_ready(compilation.findings))?;
    Prepared::new(compiled).map_err(|error| Problem::refused(format!("could not make the preview: {error}")))
}

/// The message as somebody would see it; its links lead nowhere.
///
/// # Errors
/// 422 when the text is wrong or fails on these values.
pub async fn preview(
    web: &Web,
    caller: &Caller,
    id: CampaignId,
    shown: Option<String>,
    vars: Map<String, Value>,
) -> Result<Rendered, Problem> {
    let prepared = prepared(web, caller, id).await?;
    let mailbox =
        Mailbox::parse(shown.as_deref().unwrap_or("somebody@example.org")).map_err(|_| Problem::internal())?;
    let public_url = web.store().workspace(caller.workspace).await?.public_url;
    let (unsubscribe, preferences) = (format!("{public_url}/u/preview"), format!("{public_url}/p/preview"));
    let made = tokio::task::spawn_blocking(move || {
        prepared.preview(&RecipientView {
            mailbox: &mailbox,
            vars: &vars,
            unsubscribe_url: &unsubscribe,
            preferences_url: &preferences,
            hosted_url: None,
        })
    })
    .await
    .map_err(|_| Problem::internal())?;
    made.map_err(|error| Problem::refused(format!("could not make the preview: {error}")))
}

/// The site of the lane in which a message waits: the smarthost of its route, or unresolved until DNS has answered.
///
/// # Errors
/// 422 when there is no route.
pub async fn site(web: &Web, caller: &Caller, route: Option<RouteId>) -> Result<String, Problem> {
    let route = match route {
        Some(id) => Some(web.store().route(caller.workspace, id).await?),
        None => web.store().default_route(caller.workspace).await?,
    };
    let route =
        route.ok_or_else(|| Problem::refused("there is no route by which anything could leave: add one first"))?;
    Ok(match route.settings.kind {
        RouteKind::Mx => UNRESOLVED.to_owned(),
        RouteKind::Smarthost => format!("route:{}", route.id),
    })
}

/// Hands a message to the writer; only after this it is taken.
///
/// # Errors
/// 503 when the disk is nearly full or this process sends nothing.
pub async fn accept(web: &Web, message: NewMessage) -> Result<(), Problem> {
    let writer = web.config().writer.as_ref().ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "not_sending",
            "this process takes no messages: send the request to the running server",
        )
    })?;
    Ok(writer.accept_message(message).await?)
}

/// One recipient of a message.
pub fn recipient(web: &Web, mailbox: &Mailbox) -> Recipient {
    Recipient {
        delivery: web.store().new_delivery_id(),
        mailbox: mailbox.wire(),
        mailbox_norm: mailbox.normalised(),
        domain: mailbox.domain().as_str().to_owned(),
        contact: None,
    }
}

/// Sends the message of a campaign to some mailboxes for a look: one transactional message each, whole as it would be,
/// with links of nobody.
///
/// # Errors
/// 422 with the findings when something is wrong.
pub async fn send_test(
    web: &Web,
    caller: &Caller,
    id: CampaignId,
    to: Vec<Mailbox>,
    vars: Map<String, Value>,
) -> Result<(Vec<MessageId>, Vec<DeliveryId>), Problem> {
    let store = web.store();
    let Checked { findings, compiled } = check(web, caller, id).await?;
    // Whether anybody would get the campaign does not matter to a look at it, and a test may show what DNS does to it.
    let wrong = |f: &&Finding| {
        f.severity == Severity::Error
            && !matches!(f.code.as_str(), "no_recipients" | "no_list" | "unknown_list" | RED_DOMAIN)
    };
    if findings.iter().any(|f| wrong(&f)) {
        return Err(Problem::not_ready(findings));
    }
    let compiled = compiled.ok_or_else(|| Problem::not_ready(findings))?;
    let campaign = store.campaign(caller.workspace, id).await?;
    let purpose = campaign.audience.purpose.ok_or_else(Problem::internal)?;
    let workspace = store.workspace(caller.workspace).await?;
    let site = site(web, caller, campaign.route).await?;
    let from = compiled.from_mailbox().clone();
    let signing = store
        .signing_key(caller.workspace, from.domain().as_str())
        .await?
        .ok_or_else(|| Problem::refused("the From domain has no key: add it as a sending domain"))?;
    let keys = store.link_keys(caller.workspace).await?;
    let secret = store.derived_key(KeyPurpose::MessageId);
    let prepared =
        Prepared::new(compiled).map_err(|error| Problem::refused(format!("could not make the test: {error}")))?;
    let now = web.now();
    let policy = RetryPolicy::default_for(Stream::Transactional);
    let mut made = Vec::new();
    for mailbox in &to {
        let recipient = recipient(web, mailbox);
        let delivery = recipient.delivery.get();
        let (w, p) = (caller.workspace.get(), purpose.get());
        let token = OptOutToken { workspace: w, contact: 0, purpose: p, delivery }.encode(&keys.current);
        let hosted = workspace.hosted_copies.then(|| {
            let token = HostedToken { workspace: w, contact: 0, purpose: p, delivery }.encode(&keys.current);
            format!("{}/h/{token}", workspace.public_url)
        });
        let unsubscribe_url = format!("{}/u/{token}", workspace.public_url);
        let preferences_url = format!("{}/p/{token}", workspace.public_url);
        let view = RecipientView {
            mailbox,
            vars: &vars,
            unsubscribe_url: &unsubscribe_url,
            preferences_url: &preferences_url,
            hosted_url: hosted.as_deref(),
        };
        let facts = MessageFacts {
            delivery: recipient.delivery,
            message_id: &message_id::message_id(delivery, from.domain(), &secret),
            date_ms: now,
            list: Some(ListFacts {
                list_id: &format!("{}.list.{}", letters(p), from.domain().as_str()),
                unsubscribe_url: &unsubscribe_url,
                unsubscribe_mailbox: &format!(
                    "{}@{}",
                    MailtoToken { delivery }.encode(&keys.current),
                    signing.return_path_host
                ),
                feedback_id: &format!("test:{}:transactional:postrider", caller.workspace),
            }),
        };
        let mut bytes = Vec::new();
        prepared
            .render(&view, &facts, &mut bytes)
            .map_err(|error| Problem::refused(format!("could not make the test: {error}")))?;
        made.push((recipient, bytes));
    }
    let (mut messages, mut deliveries) = (Vec::new(), Vec::new());
    for (recipient, bytes) in made {
        let message = store.new_message_id();
        messages.push(message);
        deliveries.push(recipient.delivery);
        let new = NewMessage {
            id: message,
            workspace: caller.workspace,
            stream: Stream::Transactional,
            from_mailbox: from.wire(),
            subject: format!("test of {}", campaign.name),
            bytes,
            recipients: vec![recipient],
            api_key: None,
            test_of: Some(id),
            version: None,
            max_attempts: policy.max_attempts,
            expires_at: Some(now + policy.lifetime_ms),
            site: site.clone(),
            tls: None,
            answer: None,
            relay: None,
        };
        accept(web, new).await?;
    }
    note(web, caller, "campaign.test", id).await?;
    Ok((messages, deliveries))
}
