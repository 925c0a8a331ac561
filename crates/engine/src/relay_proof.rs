//! Whether a received message proves that a relay signs: one of its signatures passes, is aligned with the From domain, and is
//! not our own.
//!
//! Must not know routes: web keeps the proof under the name of whoever handed the message in.

use postrider_mail::dkim::verify::{Signature, from_domain, signatures, with_crlf};
use postrider_mail::dns_record::dkim_key::DkimKeyRecord;
use postrider_store::StoreError;
use postrider_store::inquiry::Inquiry;
use serde_json::{Value, json};

use crate::shared::Shared;

/// Looks at a message.
pub(crate) async fn look(shared: &Shared, inquiry: &Inquiry) -> Result<Value, StoreError> {
    let no = |text: String| json!({ "ok": false, "text": text });
    let message = with_crlf(inquiry.args["message"].as_str().unwrap_or_default().as_bytes());
    let Some(from) = from_domain(&message) else {
        return Ok(no("the message has no From field with one mailbox: hand in its whole source".into()));
    };
    let Some(workspace) = inquiry.workspace else { return Ok(no("nobody asks".into())) };
    let ours: Vec<(String, String)> = shared
        .store
        .domains(workspace)
        .await?
        .into_iter()
        .flat_map(|domain| domain.keys.into_iter().map(move |key| (domain.name.clone(), key.selector)))
        .collect();
    let mut why = Vec::new();
    for found in signatures(&message) {
        let signature = match found {
            Ok(signature) => signature,
            Err(error) => {
                why.push(error.to_string());
                continue;
            }
        };
        let name = format!("d={} s={}", signature.domain, signature.selector);
        if ours.iter().any(|(domain, selector)| *domain == signature.domain && *selector == signature.selector) {
            why.push(format!("{name}: it is our own"));
        } else if !signature.is_aligned(&from) {
            why.push(format!("{name}: it is of another domain than the From field ({from})"));
        } else {
            match passes(shared, &signature, &message).await {
                Ok(()) => {
                    return Ok(json!({
                        "ok": true, "domain": from.as_str(), "signed_by": signature.domain, "selector": signature.selector,
                        "text": format!("the relay signs for {from} ({name})"),
                    }));
                }
                Err(error) => why.push(format!("{name}: {error}")),
            }
        }
    }
    Ok(no(match why.is_empty() {
        true => "the message has no DKIM signature".to_owned(),
        false => format!("no signature of the message counts: {}", why.join("; ")),
    }))
}

async fn passes(shared: &Shared, signature: &Signature, message: &[u8]) -> Result<(), String> {
    let name = format!("{}._domainkey.{}", signature.selector, signature.domain);
    let records = shared.config.resolver.txt(&name).await.map_err(|error| format!("its key was not found: {error}"))?;
    let mut last = "its key record cannot be read".to_owned();
    for record in records {
        let Ok(key) = DkimKeyRecord::parse(&record) else { continue };
        match signature.verify(message, &key) {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
